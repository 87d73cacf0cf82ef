"""An exported folder is enough: its space, folds, hashes, models and commands are those of the run."""

import hashlib
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image
from scored_run import scored_run
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.answer.selection import winner_of
from analysis.exports import onnx_export
from analysis.exports.export import _facts, _requirements
from analysis.exports.readme import readme
from search.runs.run_folder import Run
from search.runs.run_tables import read_run
from spaces.__main__ import app as spaces
from spaces.load import load_space
from trainable.data.folds import folds_of, load_folds
from trainable.errors import UserError
from trainable.printing import digits
from trainable.storage.checked_json import read_checked, write_checked

EVERYTHING = {
    "README.md",
    "SHA256SUMS",
    "config.json",
    "ensemble.json",
    "ensemble.onnx",
    "ensemble.pt",
    "env.json",
    "export.json",
    "folds.json",
    "predict_onnx.py",
    "requirements.txt",
    "selection.json",
    "space.yaml",
}


def program(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture(scope="module")
def exported(small_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "winner"
    assert program("export", small_run.folder, "--out", folder).exit_code == 0
    return folder


def test_the_content_of_the_weights_that_an_encoder_started_from_is_pinned(small_run, winner, tmp_path):
    run = Run(tmp_path / "run")
    shutil.copytree(small_run.folder, run.folder)
    for path, change in (
        (run.folder / "env.json", lambda facts: facts.update(encoder_weights={"w.pt": "12ab", "other.pt": "34cd"})),
        (run.folder / f"configs/{winner}/config.json", lambda facts: facts["config"].update(encoder_weights="w.pt")),
    ):
        facts = read_checked(path)
        change(facts)
        write_checked(path, facts)
    assert _facts(run, winner)["encoder_weights"] == {"w.pt": "12ab"}
    assert "encoder_weights" not in _facts(small_run, winner)
    manifest, space = {"channels": 3}, load_space(str(small_run.folder / "space.yaml"))
    text = readme(_facts(run, winner), space, {0: 0.5}, "miou", manifest, "")
    assert "# the encoder starts from w.pt, whose SHA-256 must be 12ab\npython -m spaces check" in text


@pytest.fixture(scope="module")
def winner(small_run):
    return winner_of(read_run(small_run)).config


def test_the_folder_holds_everything_and_every_hash_is_right(exported):
    assert {path.name for path in exported.iterdir()} == EVERYTHING
    told = dict(reversed(line.split("  ")) for line in (exported / "SHA256SUMS").read_text().splitlines())
    assert set(told) == EVERYTHING - {"SHA256SUMS"}
    for name, sum_ in told.items():
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == sum_
    difference = json.loads((exported / "export.json").read_text())["onnx_difference"]
    assert difference <= onnx_export.TOLERANCE, "three members at sizes other than that of the example"


def test_the_exported_space_is_the_config_for_any_data_folder(exported, winner, small_folder):
    space = load_space(exported / "space.yaml", [f"data={small_folder}"])
    assert [point.id for point in space.configs()] == [winner]
    assert set(space.constants) == set(json.loads((exported / "config.json").read_text())["config"])
    assert space.settings.data == str(small_folder)
    done = CliRunner().invoke(spaces, ["check", str(exported / "space.yaml"), "--set", "data=elsewhere"])
    assert done.exit_code == 0, done.output


def test_folds_made_from_the_exported_space_are_those_of_the_run(exported, small_data):
    settings = load_space(exported / "space.yaml").settings
    folds = folds_of(small_data, settings.folds, settings.fold_seed)
    assert folds == load_folds(exported / "folds.json", small_data.hash)
    assert folds.hash == json.loads((exported / "export.json").read_text())["folds_hash"]


def test_the_readme_names_hashes_versions_scores_and_commands(exported, small_run, small_data, winner):
    text = (exported / "README.md").read_text()
    environment = json.loads((small_run.folder / "env.json").read_text())
    name = yaml.safe_load((exported / "space.yaml").read_text())["name"]
    for part in (small_data.hash, winner, f"--set data=DATA\ncmp runs/{name}/folds.json", environment["python"]):
        assert part in text
    assert str(environment["commit"] or "COMMIT") in text
    for fold, score in enumerate(read_run(small_run).full().loc[winner]):
        assert f"| {fold} | {digits(score)} |" in text
    requirements = (exported / "requirements.txt").read_text().splitlines()
    assert f"torch=={environment['packages']['torch']}" in requirements
    names = [line.split("==")[0] for line in requirements]
    assert names == sorted(set(names))
    assert not any(line.startswith("scribble-search") for line in requirements)


def test_a_package_is_required_once_in_the_version_of_the_run(tmp_path, monkeypatch):
    def distribution(name, version):
        return SimpleNamespace(metadata={"Name": name}, version=version)

    installed = [
        distribution("segmentation_models_pytorch", "0.5"),
        distribution("Ruamel.YAML", "1"),
        distribution("ray", "2"),
    ]
    monkeypatch.setattr("analysis.exports.export.distributions", lambda: installed)
    run = Run(tmp_path)
    write_checked(tmp_path / "env.json", {"code": "", "packages": {"segmentation-models-pytorch": "0.4", "ray": None}})
    assert _requirements(run) == "ray==2\nruamel-yaml==1\nsegmentation-models-pytorch==0.4\n"


def test_the_onnx_script_alone_gives_the_masks_of_predict(exported, small_folder, tmp_path):
    program("predict", exported, small_folder / "test1", "--out", tmp_path / "masks")
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("predict_onnx.py", "ensemble.onnx", "ensemble.json"):
        shutil.copy(exported / name, alone)
    image = min((small_folder / "test1/images").iterdir())
    words = [image, small_folder / f"test1/scribbles/{image.stem}.png", tmp_path / "mask.png"]
    command = [sys.executable, "-I", alone / "predict_onnx.py", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    ours, found = Image.open(tmp_path / f"masks/{image.stem}.png"), Image.open(tmp_path / "mask.png")
    assert ours.mode == found.mode == "P" and ours.getpalette()[:6] == found.getpalette()[:6]
    ours, found = np.asarray(ours), np.asarray(found)
    assert set(np.unique(found)) == {0, 1}, "also where 255 is ignored, evaluate reads it"
    assert (ours != found).mean() < 1e-3, "rounding may turn a pixel whose probability is the threshold"
    source = (exported / "predict_onnx.py").read_text()
    assert "torch" not in source and "trainable" not in source and "analysis" not in source


def test_an_export_is_replaced_only_on_request_and_other_files_are_kept(exported, small_run, winner, tmp_path):
    folder = tmp_path / "again"
    program("export", small_run.folder, "--out", folder, "--no-onnx")
    (folder / "notes.txt").write_text("mine")
    (folder / "space.yaml").unlink()
    first = (folder / "ensemble.json").read_bytes()
    with pytest.raises(UserError, match=f"is an export of {winner} already; .* --force"):
        program("export", small_run.folder, "--out", folder, "--no-onnx")
    program("export", small_run.folder, "--out", folder, "--no-onnx", "--force")
    assert (folder / "notes.txt").read_text() == "mine" and (folder / "space.yaml").exists()
    assert (folder / "ensemble.json").read_bytes() == first
    assert "ensemble.onnx" not in (folder / "README.md").read_text()
    assert {path.name for path in folder.iterdir()} == EVERYTHING - {"ensemble.onnx", "predict_onnx.py"} | {"notes.txt"}
    other = next(each for each in read_run(small_run).complete() if each != winner)
    with pytest.raises(UserError, match="is not empty"):
        program("export", small_run.folder, "--out", folder, "--config", other, "--no-onnx")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("")
    with pytest.raises(UserError, match="is not empty"):
        program("export", small_run.folder, "--out", tmp_path / "full", "--no-onnx")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["file"]


def test_missing_onnx_packages_are_reported_before_anything_is_written(small_run, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UserError, match=r"needs onnxscript: pip install 'scribble-search\[onnx\]'.*--no-onnx"):
        program("export", small_run.folder, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_without_winner_or_models_is_refused_and_leaves_nothing(tmp_path):
    losses = {"loss": {"values": ["iou", "dice"]}}
    run, _ = scored_run(tmp_path / "none", losses, [([0.8, None, None], 1.0), ([None] * 3, 1.0)])
    with pytest.raises(UserError, match="no winner yet"):
        program("export", run.folder, "--out", tmp_path / "out", "--no-onnx")
    run, _ = scored_run(tmp_path / "scripted", losses, [([0.8] * 3, 1.0), ([0.7] * 3, 1.0)])
    with pytest.raises(UserError, match="save no models"):
        program("export", run.folder, "--out", tmp_path / "out", "--no-onnx")
    assert not (tmp_path / "out").exists()
