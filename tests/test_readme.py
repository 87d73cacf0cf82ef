"""The examples and tables of the README and the documentation match the code."""

import importlib
import re
from pathlib import Path

import pytest
from typer.main import get_command

from spaces.schema.parameter_reader import KEYS
from spaces.schema.reference import PARAMETERS, markdown

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FOLD = (ROOT / "docs" / "fold.md").read_text()


def test_the_example_trains_a_fold(small_folder, small_cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(small_cache))
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", FOLD, re.S)
    for documented, small in (
        ("data/scribbles", str(small_folder)),
        ('"steps": 500', '"steps": 2, "batch_size": 4'),
        ("resnet18", "mobilenetv3_small_050"),
    ):
        assert documented in example
        example = example.replace(documented, small)
    exec(compile(example, "fold.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2"]
    assert (tmp_path / "runs/mine/best.pt").exists()


@pytest.mark.parametrize("program", ["trainable", "spaces", "search", "cluster", "analysis"])
def test_the_tables_list_exactly_the_commands(program):
    app = importlib.import_module(f"{program}.__main__").app
    tables = "\n".join(line for line in README.splitlines() if line.startswith("|"))
    rows = re.findall(rf"python -m {program} (.*?) \|", tables)
    named = set(re.findall(r"(?:^|/ `?)([\w-]+)", "\n".join(rows), re.M))
    assert named == set(get_command(app).commands)


def test_the_reference_of_space_files_matches_the_declarations():
    (reference,) = re.findall(r"<!-- reference -->\n(.*?)\n<!-- end of reference -->", README, re.S)
    assert reference == markdown(), (
        "python -c 'from spaces.schema.reference import markdown; print(markdown())' prints the new one"
    )


def test_the_reference_lists_every_key_of_a_parameter():
    listed = {word.strip(".") for row in PARAMETERS for word in row["key"].removeprefix("parameters.NAME").split(", ")}
    assert listed - {"", "forbid"} == set(KEYS)


def test_every_linked_file_exists():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
