"""The commands of docs/getting_started.md run in order, on small data and with few steps."""

import os
import shlex

from documented_commands import ROOT, tour
from forked_child import CHILDREN
from PIL import Image

FEW = ["folds=2", "parameters.learning_rate=1e-2", "parameters.augmentation=none"]
FEW += ["parameters.steps=4", "parameters.evaluations=2", "parameters.warmup_steps=0"]


def smaller(words):
    """The same command with fewer images, pixels, configs or steps."""
    if words[:2] == ["trainable", "synthesize"]:
        words = [{"160x128": "96x64", "40": "12", "8": "3"}.get(word, word) for word in words]
    if words[:2] in (["search", "plan"], ["search", "launch"]):
        words = [*words, *(word for each in FEW for word in ("--set", each))]
    return words


def test_the_tour_produces_masks(tmp_path, fork_server):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SCRIBBLE_SEARCH_CACHE": str(tmp_path / "cache"),
        "SCRIBBLE_SEARCH_DASHBOARD": "0",
        "RAY_ADDRESS": "",
        "NO_COLOR": "1",
        CHILDREN: "1",
    }
    outputs = {}
    commands = tour()
    assert [command.split()[2] for command in commands][:2] == ["trainable", "trainable"]
    for command in commands:
        words = smaller(shlex.split(command)[2:])
        done = fork_server.run(["-m", *words], tmp_path, environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        outputs[" ".join(words[:2])] = done.stdout
    assert (tmp_path / "runs/samples.png").exists()
    assert "<html" in (tmp_path / "runs/first/analysis/report.html").read_text()[:500]
    assert "foldrace" in outputs["search replay"]
    masks = sorted((tmp_path / "runs/first/masks").glob("*.png"))
    assert len(masks) == 3
    for mask in masks:
        with Image.open(mask) as opened:
            assert opened.size == (96, 64)
