"""The examples, small, on a run that was trained beforehand without Ray: their launch finds nothing left to do."""

import base64
import io
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from notebook import code_cells, execute
from PIL import Image
from trained_run import train_run

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NOTEBOOK = json.loads((EXAMPLES / "first_search.ipynb").read_text())
SMALL = {
    '"steps": 80': '"steps": 2',
    '"evaluations": 8': '"evaluations": 1',
    '"width": 8': '"width": 4',
    "int = 24": "int = 12",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a small version of the script, its data and its run."""
    home = tmp_path_factory.mktemp("examples")
    text = (EXAMPLES / "own_data.py").read_text()
    for documented, small in SMALL.items():
        assert text.count(documented) == 1, documented
        text = text.replace(documented, small)
    (home / "own_data.py").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCRIBBLE_SEARCH_CACHE", str(home / "cache"))
        patch.chdir(home)
        script = runpy.run_path(str(home / "own_data.py"))
        script["write_data"](script["DATA"])
        from trainable.data.decoded_images import open_data

        (home / "runs").mkdir()
        text = yaml.safe_dump(script["SPACE"]).replace("data/own", "{data}")
        train_run(home / "runs", text, open_data("data/own"), None)
    return home


@pytest.fixture(scope="module")
def environment(home):
    cache = str(home / "cache")
    return {**os.environ, "PYTHONPATH": str(ROOT), "SCRIBBLE_SEARCH_CACHE": cache, "RAY_ADDRESS": "", "NO_COLOR": "1"}


def test_own_data_is_searched_and_a_new_image_segmented(home, environment, fork_server):
    done = fork_server.run([home / "own_data.py"], home, environment)
    assert done.returncode == 0, done.stderr
    assert "nothing left to run" in done.stderr, "the run that was trained beforehand is another one"
    first, second = done.stdout.splitlines()[-2:]
    assert first.startswith("ended: every job is done; the winner is ") and "'loss': " in first
    assert re.fullmatch(r"\d+\.\d% of the pixels of a new image are right", second)
    with Image.open(home / "own_data.png") as picture:
        assert picture.size == (3 * 3 * 96, 3 * 80)


def test_the_notebook_runs_and_shows_what_is_stored_in_it(home, environment, fork_server, monkeypatch):
    drivers = []

    def start(words, stdout, stderr):
        drivers.append(fork_server.start(words[1:], home, environment))
        return drivers[0]

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", environment["SCRIBBLE_SEARCH_CACHE"])
    monkeypatch.chdir(home)
    monkeypatch.syspath_prepend(str(home))
    try:
        found = execute(NOTEBOOK, {"__name__": "__main__"})
    finally:
        sys.modules.pop("own_data", None)
        _, messages = drivers[0].communicate()
    assert "nothing left to run" in messages
    stored = [cell["outputs"] for cell in code_cells(NOTEBOOK)]
    assert [kinds(outputs) for outputs in found] == [kinds(outputs) for outputs in stored]
    assert "12 fold trials done, leader " in "".join(found[2][0]["text"])
    figure = found[3][0]["data"]["application/vnd.plotly.v1+json"]
    assert len(figure["data"]) == 12, "a line per fold of each of 4 configs"
    for outputs in (found, stored):
        assert picture_in(outputs[-1]).size == (3 * 3 * 96, 3 * 80)


def kinds(outputs):
    """The forms of the outputs of a cell, but for pictures of figures, which a browser has drawn."""
    return [{each["output_type"], *each.get("data", {})} - drawn(each) for each in outputs]


def drawn(output):
    return {"image/png"} if "application/vnd.plotly.v1+json" in output.get("data", {}) else set()


def picture_in(outputs):
    return Image.open(io.BytesIO(base64.b64decode(outputs[-1]["data"]["image/png"])))


def test_the_notebook_is_valid_and_was_stored_after_a_run_from_top_to_bottom():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert NOTEBOOK.keys() == {"cells", "metadata", "nbformat", "nbformat_minor"}
    names = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(names)) == len(names) and all(re.fullmatch(r"[\w-]{1,64}", name) for name in names)
    assert [cell["execution_count"] for cell in code_cells(NOTEBOOK)] == [1, 2, 3, 4, 5, 6]
    for cell in NOTEBOOK["cells"]:
        usual = {"cell_type", "id", "metadata", "source"}
        assert cell.keys() == usual | ({"execution_count", "outputs"} if cell["cell_type"] == "code" else set())
    assert picture_in(code_cells(NOTEBOOK)[3]["outputs"]).width >= 800, "the plot, for viewers without plotly"
    assert str(ROOT) not in json.dumps(NOTEBOOK)


def test_the_plugin_and_its_space_are_valid(home, monkeypatch):
    from spaces.load import load_space
    from trainable.preflight.network_check import examined

    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(home / "cache"))
    monkeypatch.chdir(ROOT)
    space = load_space("examples/own_parts.yaml")
    assert space.size == 9
    assert [type(found) for found in examined([point.config for point in space.configs()])] == [int] * 9
