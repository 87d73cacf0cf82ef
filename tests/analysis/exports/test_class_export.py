"""Exports of several classes: grey images, images alone, weights per class, and what the README says of them."""

import json
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.ensembles.ensemble import Ensemble, load_ensemble, read_member
from analysis.exports import predict_onnx
from analysis.exports.onnx_export import SIZES, _sample, export_onnx
from search.runs.run_tables import read_run
from spaces.load import load_space
from trainable.data.class_colours import COLOURS
from trainable.errors import UserError
from trainable.printing import digits


def program(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def config_of(run, inputs):
    return read_run(run).configs.set_index("inputs")["config"][inputs]


@pytest.fixture(scope="module")
def exported(class_run, tmp_path_factory):
    """Of the config that sees images alone, with ONNX."""
    folder = tmp_path_factory.mktemp("export") / "alone"
    program("export", class_run.folder, "--config", config_of(class_run, "image"), "--out", folder)
    return folder


@pytest.fixture(scope="module")
def scribbled(class_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "scribbled"
    program(
        "export", class_run.folder, "--config", config_of(class_run, "image+scribble"), "--out", folder, "--no-onnx"
    )
    return folder


def test_the_onnx_file_gives_the_softmax_of_the_ensemble_at_any_size(exported):
    session = onnxruntime.InferenceSession(exported / "ensemble.onnx", providers=["CPUExecutionProvider"])
    (pixels,), (output,) = session.get_inputs(), session.get_outputs()
    assert pixels.shape[3] == 2 and len(output.shape) == 4, "grey and scribble in, a map per class out"
    ensemble = load_ensemble(exported, "cpu")
    for size in ((80, 96), (31, 57)):
        sample = _sample(ensemble, 3, *size)
        (found,) = session.run(["probability"], {"pixels": sample[None]})
        expected = ensemble.predict(sample[..., 0], sample[..., 1]).probability
        assert found.shape == (1, 4, *size) and np.abs(found[0] - expected).max() < 1e-4
    assert json.loads((exported / "export.json").read_text())["onnx_difference"] < 1e-4


def test_the_sample_of_the_check_has_a_scribble_of_every_class(exported):
    ensemble = load_ensemble(exported, "cpu")
    ensemble.classes = tuple(f"c{k}" for k in range(15))
    for size in SIZES:
        assert set(np.unique(_sample(ensemble, 0, *size)[..., -1])) == {*range(15), 255}


def test_a_file_that_differs_from_torch_is_not_kept(class_run, tmp_path, monkeypatch):
    config = config_of(class_run, "image")
    ensemble = Ensemble([read_member(config, 0, class_run.folder / f"configs/{config}/fold_0")], 0.5, "none")
    monkeypatch.setattr("analysis.exports.onnx_export.TOLERANCE", 0.0)
    monkeypatch.setattr("analysis.exports.onnx_export._difference", lambda *given: 0.5)
    monkeypatch.setattr("analysis.exports.onnx_export._convert", lambda ensemble, path: path.write_bytes(b""))
    with pytest.raises(UserError, match=r"differs from torch by 5\.0e-01"):
        export_onnx(ensemble, tmp_path / "ensemble.onnx")
    assert not list(tmp_path.iterdir())


def test_the_script_alone_segments_an_image_without_a_scribble(exported, class_folder, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("predict_onnx.py", "ensemble.onnx", "ensemble.json"):
        shutil.copy(exported / name, alone)
    image = min((class_folder / "train/images").iterdir())
    command = [sys.executable, "-I", alone / "predict_onnx.py", image, tmp_path / "mask.png"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    program("predict", exported, image, "--out", tmp_path / "masks")
    ours, found = Image.open(tmp_path / f"masks/{image.stem}.png"), Image.open(tmp_path / "mask.png")
    assert ours.mode == found.mode == "P" and ours.getpalette()[:12] == found.getpalette()[:12]
    assert predict_onnx.COLOURS == COLOURS
    ours, found = np.asarray(ours), np.asarray(found)
    assert (ours != found).mean() < 1e-2 and len(np.unique(found)) > 1


def test_the_script_asks_for_a_scribble_where_the_model_sees_one(exported, scribbled, class_folder, tmp_path):
    for name in ("predict_onnx.py", "ensemble.onnx"):
        shutil.copy(exported / name, tmp_path)
    shutil.copy(scribbled / "ensemble.json", tmp_path)
    image = min((class_folder / "train/images").iterdir())
    command = [sys.executable, "-I", tmp_path / "predict_onnx.py", image, tmp_path / "mask.png"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (
        done.returncode == 1
        and done.stderr == "this model sees scribbles: python predict_onnx.py IMAGE SCRIBBLE MASK.png\n"
    )


def test_the_exported_space_is_the_config_with_its_weights_and_metric(exported, class_run, class_folder):
    space = load_space(exported / "space.yaml", [f"data={class_folder}"])
    assert [point.id for point in space.configs()] == [config_of(class_run, "image")]
    assert space.constants["class_weights"] == "1,4,4,4" and space.constants["size"] == "64x64"
    assert space.settings.metric.name == "dice_volume"


def test_the_readme_has_the_commands_of_the_inputs_that_the_model_sees(exported, scribbled, class_run):
    alone, both = ((folder / "README.md").read_text() for folder in (exported, scribbled))
    assert "predict .. IMAGES --out masks\n" in alone and "predict_onnx.py IMAGE MASK.png" in alone
    assert "(batch, height, width, grey and scribble) in, probability of each of 4 classes out" in alone
    assert "predict .. IMAGES --scribbles SCRIBBLES --out masks\n" in both
    full = read_run(class_run).full()
    for fold, score in enumerate(full.loc[config_of(class_run, "image")]):
        assert f"| {fold} | {digits(score)} |" in alone
    assert "dice_volume at full length" in alone and "scribbled pixels" not in alone


def test_the_export_of_a_run_without_masks_says_what_its_scores_are_of(scribble_run, tmp_path):
    program("export", scribble_run.folder, "--out", tmp_path / "out", "--no-onnx")
    text = (tmp_path / "out/README.md").read_text()
    assert "The data have no masks: scores are of the scribbled pixels of held-out images only. On a CPU" in text
    assert json.loads((tmp_path / "out/selection.json").read_text())["scored_on"] == "scribbles"
    assert load_space(tmp_path / "out/space.yaml").settings.validation == "val"


def test_a_member_has_a_channel_per_class_for_scribbles(class_run):
    config = config_of(class_run, "image+scribble")
    member = read_member(config, 0, class_run.folder / f"configs/{config}/fold_0")
    first = next(iter(member.network().parameters()))
    assert first.shape[1] == 1 + 4 and member.channels == 1 and len(member.classes) == 4
