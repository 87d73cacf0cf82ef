"""A run and its data in an object store: real fold trials, up to the ensemble of the winner."""

import json

import pytest
from object_store import CREDENTIALS
from typer.testing import CliRunner

from analysis.__main__ import app as analysis
from trainable.__main__ import app as trainable
from trainable.storage.object_store import Store

# The test server leaves closing its connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SPACE = """
name: real
folds: 2
parameters: {encoder: test_resnet, attention: null, batch_size: 4, steps: 4, evaluations: 2}
resources: {gpu: 0, cpu: 1}
"""


def test_data_training_and_ensemble_work_with_the_store_alone(start, object_store, small_folder, tmp_path, monkeypatch):
    data = Store(object_store.url("data/small"))
    for path in small_folder.rglob("*.*"):
        data.put(path, path.relative_to(small_folder).as_posix())
    (tmp_path / "real.yaml").write_text(f"{SPACE}data: {data.url}\n")
    runs = object_store.url("runs")
    own = {"SCRIBBLE_SEARCH_CACHE": str(tmp_path / "driver"), "RAY_ADDRESS": "", **CREDENTIALS}
    launched = start("-m", "search", "launch", "real.yaml", "--runs", runs, **own)
    _, stderr = launched.communicate(timeout=300)
    assert launched.returncode == 0, stderr
    for fold in range(2):
        names = {name.rpartition("/")[2] for name in object_store.names() if f"/fold_{fold}/" in name}
        assert names == {"last.pt", "best.pt", "metrics.jsonl", "images.parquet", "scores.json", "log.txt"}
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "visitor"))
    doctor = CliRunner().invoke(trainable, ["doctor", data.url, "--format", "json"])
    assert json.loads(doctor.stdout)["images"] == 20
    ensemble = CliRunner().invoke(analysis, ["ensemble", "real", "--runs", runs, "--format", "json"])
    assert ensemble.exit_code == 0, ensemble.output
    assert [member["fold"] for member in json.loads(ensemble.stdout)["members"]] == [0, 1]
    assert {"ensemble.pt", "ensemble.json"} <= {
        name.rpartition("/")[2] for name in object_store.names("runs/real/analysis/ensemble/")
    }
    assert not list((tmp_path / "visitor").rglob("last.pt"))
