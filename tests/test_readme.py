"""The examples and tables of the README and the documentation match the code."""

import importlib
import re
from pathlib import Path

import pytest
from typer.main import get_command

from spaces.load import load_space
from spaces.schema.parameter_reader import KEYS
from spaces.schema.reference import PARAMETERS, markdown

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FOLD = (DOCS / "fold.md").read_text()


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
    tables = "\n".join(line for line in (DOCS / "commands.md").read_text().splitlines() if line.startswith("|"))
    rows = re.findall(rf"python -m {program} (.*?) \|", tables)
    named = set(re.findall(r"(?:^|/ `?)([\w-]+)", "\n".join(rows), re.M))
    assert named == set(get_command(app).commands)


def test_the_reference_of_space_files_matches_the_declarations():
    page = (DOCS / "space_files.md").read_text()
    (reference,) = re.findall(r"<!-- reference -->\n(.*?)\n<!-- end of reference -->", page, re.S)
    assert reference == markdown(), (
        "python -c 'from spaces.schema.reference import markdown; print(markdown())' prints the new one"
    )


def test_the_reference_lists_every_key_of_a_parameter():
    listed = {word.strip(".") for row in PARAMETERS for word in row["key"].removeprefix("parameters.NAME").split(", ")}
    assert listed - {"", "forbid"} == set(KEYS)


def test_the_example_of_a_space_is_one_with_and_without_masks(tmp_path):
    example = re.findall(r"```yaml\n(.*?)```", (DOCS / "space_files.md").read_text(), re.S)[0]
    with_masks = re.sub(r"^ +(supervision|inputs|border|lambda_crf):.*\n", "", example, flags=re.M)
    assert len(example.splitlines()) == len(with_masks.splitlines()) + 4
    path = tmp_path / "mine.yaml"
    for text in (example, with_masks):
        path.write_text(text)
        assert load_space(str(path)).settings.name == "mine"


PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md")),
    *DOCS.glob("*.md"),
)


def headings(page):
    """The anchors of a page, as GitHub names them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("http"):
            continue
        file, _, heading = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not heading or heading in headings(target), f"{page.name} links to {link}"


def test_the_front_page_leads_to_every_page_of_the_documentation():
    linked = re.findall(r"\]\(docs/(\w+\.md)", (ROOT / "README.md").read_text())
    assert {page.name for page in DOCS.glob("*.md")} == set(linked)
