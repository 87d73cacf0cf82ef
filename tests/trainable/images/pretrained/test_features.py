"""Features of fold models and encoders: what they are computed from, how they are reduced, cached and resumed."""

import itertools
import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fold_models_run import SIZE, write_fold_models
from tiny_networks import tiny_network

from trainable.config import make_image_config
from trainable.data.decoded_images import open_data
from trainable.data.image_files import ImageFiles
from trainable.data.packed_labels import unpack
from trainable.data.shipment import Shipment
from trainable.errors import UserError
from trainable.images import fold as loop
from trainable.images.method import ScribbledImage
from trainable.images.pretrained import features as features_file
from trainable.images.pretrained.features import TRAINING_IMAGES, open_pretrained, read_pretrained
from trainable.images.pretrained.fold_models import fold_file, open_fold_models
from trainable.images.pretrained.network import MOST_SIDE, PretrainedNetwork, open_network
from trainable.images.pretrained.projection import fit_projection, read_projection
from trainable.images.small_networks.network_inputs import inputs_at
from trainable.jobs import JOBS
from trainable.networks.registry import build_network
from trainable.training.checkpoint import load_network

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def source(folds, tmp_path_factory):
    return str(write_fold_models(tmp_path_factory.mktemp("runs") / "models", folds))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/features"


@pytest.fixture
def opened(files, folds, source, tmp_path):
    """What fold 1 takes from the models."""

    def run(folder="fold", **values):
        shared = {"method": "colour_distributions", "features": "fold", "features_from": source}
        return open_pretrained(make_image_config(shared | values), files, folds, 1, tmp_path / folder, CPU)

    return run


def test_the_features_of_a_fold_model_are_its_probabilities_on_what_it_was_trained_to_see(
    opened, files, folds, source, small_folder, small_cache
):
    stem = folds.held_out(1)[0]
    image, scribble = files.read(stem)
    found = opened().features(image, scribble)
    data = open_data(small_folder, SIZE, cache=small_cache)
    index = data.stems.index(stem)
    pixels, labels = (torch.from_numpy(array[[index]]) for array in (data.images, data.labels))
    network, _, _ = load_network(open_fold_models(source).files[1].path)
    with torch.inference_mode():
        expected = network(pixels, unpack(labels)[0]).sigmoid()[0, 0]
    assert found.shape == (SIZE[1], SIZE[0], 1) and found.dtype == np.float16
    np.testing.assert_allclose(found[..., 0], expected.numpy(), atol=1e-3)


def test_components_are_those_of_the_covariance_and_the_first_channels_pass_through():
    torch.manual_seed(0)
    mixed = torch.randn(5, 5)
    maps = [torch.einsum("dc,chw->dhw", mixed, torch.randn(5, 40, 50)) + 3 for _ in range(4)]
    maps = [torch.cat([torch.rand(1, 40, 50), each]) for each in maps]
    found = fit_projection(maps, 4, kept=1)
    reduced = np.concatenate([found(each).reshape(-1, 4) for each in maps])
    assert np.array_equal(reduced[:2000, 0], maps[0][0].flatten().numpy())
    spread = np.cov(reduced[:, 1:].T)
    rows = np.concatenate([each[1:].flatten(1).T.numpy() for each in maps])
    variances = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    np.testing.assert_allclose(np.diag(spread), 0.09 * (variances / variances[0])[:3], atol=0.006)
    assert np.abs(spread - np.diag(np.diag(spread))).max() < 0.006
    again = read_projection(json.loads(json.dumps(found.as_json())))
    assert again.components.tobytes() == found.components.tobytes() and again.mean.tobytes() == found.mean.tobytes()
    assert fit_projection(maps, 64)(maps[0]).shape == (40, 50, 6), "there are no more components than channels"


def test_components_are_fitted_to_training_images_alone(opened, folds, monkeypatch):
    read, seen = ImageFiles.read, []
    monkeypatch.setattr(ImageFiles, "read", lambda self, stem: seen.append(stem) or read(self, stem))
    assert opened().projection is None and not seen, "probabilities need no components"
    assert opened("other", features_channels=3).projection.components.shape[1] == 3
    assert len(seen) == min(TRAINING_IMAGES, len(folds.training(1))) and set(seen) <= set(folds.training(1))


def test_features_are_computed_once_and_a_damaged_copy_again(opened, files, folds, cache, monkeypatch):
    image, scribble = files.read(folds.held_out(1)[0])
    first = opened().features(image, scribble)
    (path,) = cache.rglob("*.npy")
    computed = PretrainedNetwork.seen
    monkeypatch.setattr(PretrainedNetwork, "seen", lambda *arguments: pytest.fail("computed again"))
    assert opened("other").features(image, scribble).tobytes() == first.tobytes()
    monkeypatch.setattr(PretrainedNetwork, "seen", computed)
    path.write_bytes(path.read_bytes()[:50])
    assert opened("third").features(image, scribble).tobytes() == first.tobytes()


def test_a_fold_resumes_with_the_same_features_and_not_with_other_models(files, folds, source, tmp_path):
    models = tmp_path / "models"
    shutil.copytree(source, models)
    values = {"method": "colour_distributions", "features": "fold", "features_from": str(models)}
    config = make_image_config(values | {"features_channels": 2, "steps": 10, "evaluations": 5})

    def segment(name, going=lambda step: True):
        return list(loop.segment_fold(config, files, folds, 1, tmp_path / name, device="cpu", keep_going=going))

    segment("whole")
    calls = itertools.count(1)
    segment("resumed", lambda step: next(calls) < 2)
    kept = (tmp_path / "resumed/results.jsonl").read_text()
    lines = [json.loads(line) for line in kept.splitlines()]
    assert len(lines) == 2, "one image for each report"
    segment("resumed")
    masks = [
        [json.loads(line)["mask"] for line in (tmp_path / name / "results.jsonl").read_text().splitlines()]
        for name in ("whole", "resumed")
    ]
    assert masks[0] == masks[1]
    (tmp_path / "resumed/results.jsonl").write_text(kept)
    (tmp_path / "resumed/metrics.jsonl").unlink(missing_ok=True)
    shutil.copy(models / "configs/first/fold_2/best.pt", models / "configs/first/fold_1/best.pt")
    with pytest.raises(UserError, match=r"pretrained.json: the weights in .*fold_1/best.pt have changed since"):
        segment("resumed")


def test_a_job_on_a_node_that_does_not_see_the_run_gets_its_models_sent(
    source, folds, small_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(features_file, "open_fold_models", lambda name: pytest.fail("the run was looked for"))
    files = open_fold_models(source).named()
    sent = {
        name: replace(file, path=tmp_path / "gone", fetch=partial(list, [file.path.read_bytes()]))
        for name, file in files.items()
    }
    values = {"method": "colour_distributions", "features": "fold", "features_from": source, "evaluations": 1}
    job = {"values": values, "fold": 1, "folder": str(tmp_path / "fold"), "metric": "miou", "until": 100, "threads": 1}
    (report,) = JOBS["image"](job, Shipment(folds, small_folder, "train", weights=sent), CPU, lambda step: True)
    assert report["finished"] and 0 < report["score"] < 1
    recorded = json.loads((tmp_path / "fold/pretrained.json").read_text())
    assert recorded["file"]["hash"] == files[fold_file(source, 1)].hash


def test_the_record_of_a_fold_gives_the_same_features_and_refuses_changed_models(opened, files, folds, tmp_path):
    own = opened(features_channels=3)
    recorded = json.loads((tmp_path / "fold/pretrained.json").read_text())
    image, scribble = files.read(folds.held_out(1)[0])
    again = read_pretrained(own.config, recorded, 2, CPU)
    assert again.features(image, scribble).tobytes() == own.features(image, scribble).tobytes()
    recorded["file"]["hash"] = "0" * 64
    with pytest.raises(UserError, match=r"best\.pt: has changed since the masks of the run were made"):
        read_pretrained(own.config, recorded, 2, CPU)


def test_an_encoder_gives_components_of_its_maps_of_images_of_any_size(files, folds, tmp_path, monkeypatch):
    network = build_network(tiny_network("unet", inputs="image"), [0.0] * 3, [1.0] * 3, 7)
    torch.save(network.core.encoder.state_dict(), tmp_path / "encoder.pt")
    monkeypatch.chdir(tmp_path)
    values = {"encoder": "test_resnet", "encoder_weights": "encoder.pt", "features_channels": 5}
    config = make_image_config({"method": "cnn", "inputs": "colour+features", "features": "encoder"} | values)
    found = open_pretrained(config, files, folds, 1, tmp_path / "fold", CPU)
    image, scribble = files.read(folds.held_out(1)[0])
    features = found.features(image, scribble)
    assert features.shape[2] == 5 and np.isfinite(features).all() and features.std() > 0.03
    assert found.as_json()["file"]["name"] == str(tmp_path / "encoder.pt")
    wide = np.zeros((600, 3000, 3), np.uint8), np.full((600, 3000), 255, np.uint8)
    height, width = found.features(*wide).shape[:2]
    assert width <= MOST_SIDE / 8 and height <= MOST_SIDE / 5 / 8 + 4, "a large image is seen as it is"
    (tmp_path / "encoder.pt").unlink()
    with pytest.raises(UserError, match=r"encoder.pt: there is no such file; allowed are imagenet, a file or s3://"):
        open_pretrained(config, files, folds, 1, tmp_path / "another", CPU)
    for name in network.core.encoder.state_dict():
        assert torch.equal(
            found.network.network.core.encoder.state_dict()[name], network.core.encoder.state_dict()[name]
        )


def test_features_of_any_network_cover_the_image(tmp_path):
    image, scribble = np.zeros((50, 75, 3), np.uint8), np.full((50, 75), 255, np.uint8)
    scribble[3, 4], scribble[40, 60] = 0, 2
    for architecture, channels in (("exmod-unet", 3 + 4), ("deeplabv3plus", None), ("sam", 3)):
        network = build_network(tiny_network(architecture), [100.0] * 3, [50.0] * 3, 0, 3).eval()
        maps = PretrainedNetwork(network, (41, 33), CPU).decoder_maps(image, scribble)
        assert maps.shape[1:] == (33, 41) and torch.allclose(maps[:3].sum(0), torch.ones(33, 41), atol=1e-5)
        assert len(maps) == channels or (channels is None and len(maps) > 3)
        if architecture == "exmod-unet":  # whose last layer sees one pixel, so it can be repeated
            with torch.no_grad():
                again = network.core.head(maps[None, 3:]).softmax(1)[0]
            torch.testing.assert_close(again, maps[:3], atol=1e-5, rtol=0)


def test_a_class_whose_scribbles_are_lost_at_the_working_size_keeps_a_pixel():
    network = build_network(tiny_network("unet"), [100.0] * 3, [50.0] * 3, 0, 2).eval()
    scribble = np.full((300, 400), 255, np.uint8)
    scribble[100:140, 20:90], scribble[299, 399] = 0, 1
    _, codes = PretrainedNetwork(network, (40, 32), CPU).seen(np.zeros((300, 400, 3), np.uint8), scribble)
    assert codes.shape == (1, 32, 40) and (codes == 2).sum() == 1 and codes[0, 31, 39] == 2 and (codes == 1).sum() > 10


def test_networks_see_features_between_the_pixels_that_they_are_known_at():
    features = np.random.default_rng(0).random((7, 9, 2)).astype(np.float16)
    scribble = np.full((20, 31), 255, np.uint8)
    image = ScribbledImage(np.zeros((20, 31, 3), np.uint8), scribble, features, 0)
    rows, columns = np.mgrid[:20, :31]
    found = inputs_at(image, "colour+features", rows, columns)[..., 3:].permute(2, 0, 1)
    exact = torch.from_numpy(features).float().permute(2, 0, 1)[None]
    expected = F.interpolate(exact, (20, 31), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_sam_is_built_from_the_config_alone():
    config = make_image_config({"method": "sam", "sam_size": "tiny"})
    found = open_network(config, None, 2, CPU)
    assert found.size is None and features_file.takes_features(config) is False
    assert not any(each.requires_grad for each in found.network.core.model.parameters())
