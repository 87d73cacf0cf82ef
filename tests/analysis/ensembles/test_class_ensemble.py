"""Ensembles of several classes: averaged softmax, arrays and files, masks in class colours at each image's own size."""

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.ensembles.assemble import assemble
from analysis.ensembles.ensemble import Ensemble, FlipAveraged, load_ensemble, read_member, same_classes
from trainable.data.class_colours import COLOURS
from trainable.data.decoded_images import open_data
from trainable.data.packed_labels import unpack
from trainable.data.reading import read_image, read_scribble
from trainable.errors import UserError
from trainable.networks.scribble_network import probabilities_of
from trainable.printing import digits
from trainable.storage.checked_json import read_checked, write_checked
from trainable.training.checkpoint import load_network

CLASSES = ("background", "ring", "core", "crescent")


def config_of(run, inputs):
    """The config of the run that has these inputs."""
    for path in (run.folder / "configs").iterdir():
        if json.loads((path / "config.json").read_text())["values"]["inputs"] == inputs:
            return path.name
    raise AssertionError(inputs)


@pytest.fixture(scope="module")
def scribbled(class_run, tmp_path_factory):
    """Of the config that sees images with scribbles."""
    return assemble(class_run, [config_of(class_run, "image+scribble")], "none", tmp_path_factory.mktemp("scribbled"))


@pytest.fixture(scope="module")
def images_alone(class_run, tmp_path_factory):
    return assemble(class_run, [config_of(class_run, "image")], "none", tmp_path_factory.mktemp("alone"))[0]


def program(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def sample(class_folder, stem="volume000_01"):
    (path,) = (class_folder / "train/images").glob(f"{stem}.*")
    return read_image(path, "L"), np.asarray(Image.open(class_folder / f"train/scribbles/{stem}.png"))


def test_probabilities_are_the_mean_of_the_members_softmax(class_run, class_folder, small_cache, scribbled):
    data = open_data(class_folder, (64, 64), cache=small_cache)
    index, maps = data.stems.index("volume000_01"), []
    for fold in range(3):
        folder = class_run.folder / "configs" / config_of(class_run, "image+scribble") / f"fold_{fold}"
        network, _, _ = load_network(folder / "best.pt")
        scribble, _ = unpack(torch.from_numpy(np.array(data.labels[[index]])))
        with torch.inference_mode():
            logits = network(torch.from_numpy(np.array(data.images[[index]])), scribble)
        maps.append(F.interpolate(logits.softmax(1), size=(80, 96), mode="bilinear", align_corners=False)[0].numpy())
    found = load_ensemble(scribbled[0], "cpu").predict(*sample(class_folder))
    assert found.probability.shape == (4, 80, 96)
    assert np.abs(found.probability - np.mean(maps, axis=0)).max() < 0.02, "only Pillow's rounding lies between them"
    assert np.allclose(found.probability.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(found.mask, found.probability.argmax(axis=0))
    assert np.abs(maps[0] - maps[1]).max() > 0.1, "members that agree would prove nothing"


def test_flips_of_several_classes_mirror_their_maps_back(class_run, class_folder):
    config = config_of(class_run, "image")
    member = read_member(config, 0, class_run.folder / "configs" / config / "fold_0")
    image, scribble = (np.asarray(Image.fromarray(a).resize((64, 64), 0)) for a in sample(class_folder))
    pixels = torch.from_numpy(np.dstack([image, scribble]))[None]
    plain, flipped = Ensemble([member], 0.5, "none"), Ensemble([member], 0.5, "flips")
    with torch.inference_mode():
        by_hand = [
            torch.flip(plain(torch.flip(pixels, axes)), [axis + 1 for axis in axes])
            for axes in ((), (1,), (2,), (1, 2))
        ]
        assert torch.allclose(flipped(pixels), torch.stack(by_hand).mean(0), atol=1e-5)
        averaged = FlipAveraged(member.network().eval(), "flips")(
            pixels[..., :1].float(), torch.zeros_like(pixels[..., 1])
        )
        assert torch.allclose(probabilities_of(averaged), flipped(pixels), atol=1e-5)
    assert not torch.allclose(by_hand[0], by_hand[1], atol=1e-3)


def test_a_scribble_is_needed_only_by_models_that_see_it(class_folder, scribbled, images_alone):
    image, scribble = sample(class_folder)
    alone, both = load_ensemble(images_alone, "cpu"), load_ensemble(scribbled[0], "cpu")
    assert np.array_equal(alone.predict(image).probability, alone.predict(image, scribble).probability)
    with pytest.raises(UserError, match="scribble: is missing; this ensemble sees images with scribbles"):
        both.predict(image)
    empty = np.full_like(scribble, 255)
    assert not np.allclose(both.predict(image, empty).probability, both.predict(image, scribble).probability)


def test_grey_images_may_have_three_equal_channels(class_folder, images_alone):
    ensemble, (image, _) = load_ensemble(images_alone, "cpu"), sample(class_folder)
    three = np.repeat(image[..., None], 3, axis=2)
    assert np.array_equal(ensemble.predict(three).mask, ensemble.predict(image).mask)
    coloured = three.copy()
    coloured[0, 0, 0] ^= 1
    with pytest.raises(UserError, match=r"image: must be a uint8 array of shape \(H, W\), not uint8 of \(80, 96, 3\)"):
        ensemble.predict(coloured)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scribble: scribble[:40], r"scribble: has shape \(40, 96\), but the image has \(80, 96\)"),
        (lambda scribble: np.where(scribble == 1, np.uint8(4), scribble), r"holds 4; allowed are 0 \(background\), 1"),
        (lambda scribble: scribble.astype(int), "scribble: must be a uint8 array"),
    ],
)
def test_wrong_scribbles_are_refused_in_words(class_folder, scribbled, change, message):
    image, scribble = sample(class_folder)
    with pytest.raises(UserError, match=message):
        load_ensemble(scribbled[0], "cpu").predict(image, change(scribble))


def test_the_manifest_names_the_classes_and_the_channels(scribbled, class_data):
    folder, manifest = scribbled
    assert read_checked(folder / "ensemble.json") == manifest
    assert (manifest["classes"], manifest["channels"]) == (list(CLASSES), 1) and "scored_on" not in manifest
    assert manifest["data_hash"] == class_data.hash and len(manifest["trained_on"]) == 24
    assert all("dice_volume_ring" in member["out_of_fold"] for member in manifest["members"])


def test_models_of_other_classes_are_no_ensemble(class_run):
    config = config_of(class_run, "image")
    member = read_member(config, 0, class_run.folder / "configs" / config / "fold_0")
    other = type(member)("other", 1, member.size, member.state | {"classes": ["background", "RV", "MYO", "LV"]})
    with pytest.raises(UserError, match="different classes: background, ring, core, crescent and background, RV"):
        same_classes([member, other])


@pytest.fixture
def unseen(class_folder, tmp_path):
    """Four slices of which two have another size."""
    for folder in ("images", "scribbles"):
        (tmp_path / "slices" / folder).mkdir(parents=True)
        for number, path in enumerate(sorted((class_folder / "train" / folder).iterdir())[:4]):
            picture = Image.open(path)
            if number % 2:
                picture = picture.resize((51, 70), Image.Resampling.NEAREST)
            picture.save(tmp_path / "slices" / folder / f"{path.stem}.png")
    return tmp_path / "slices"


def test_masks_are_palette_files_in_class_colours_at_the_images_own_size(scribbled, unseen, tmp_path):
    out, ensemble = tmp_path / "masks", load_ensemble(scribbled[0], "cpu")
    done = program("predict", scribbled[0], unseen, "--out", out, "--probabilities", "--batch", 2)
    assert done.exit_code == 0 and "4 masks written" in done.stderr
    found = set()
    for path in sorted((unseen / "images").iterdir()):
        image, scribble = (np.asarray(Image.open(unseen / kind / path.name)) for kind in ("images", "scribbles"))
        expected = ensemble.predict(image, scribble)
        with Image.open(out / path.name) as mask:
            assert mask.mode == "P" and mask.size == image.shape[::-1]
            values, colours = np.asarray(mask), np.asarray(mask.convert("RGB"))
        agree = np.sort(expected.probability, axis=0)
        clear = agree[-1] - agree[-2] > 1e-3
        assert np.array_equal(values[clear], expected.mask[clear])
        assert np.array_equal(colours, np.array(COLOURS)[values])
        with Image.open(out / "probabilities" / path.name) as maps:
            assert maps.mode == "I;16"
            stacked = np.asarray(maps).reshape(4, *values.shape) / 65535
        assert np.abs(stacked - expected.probability).max() < 1e-3, "the classes below each other, in their order"
        found |= set(np.unique(values).tolist())
    assert len(found) > 2 and found <= {0, 1, 2, 3}


def test_scribbles_are_not_needed_to_predict_with_images_alone(images_alone, scribbled, unseen, tmp_path):
    shutil.rmtree(unseen / "scribbles")
    done = program("predict", images_alone, unseen, "--out", tmp_path / "masks")
    assert done.exit_code == 0 and len(list((tmp_path / "masks").glob("*.png"))) == 4
    with pytest.raises(UserError, match="--scribbles DIR"):
        program("predict", scribbled[0], unseen, "--out", tmp_path / "more")


def test_scribbled_pixels_get_their_class_with_the_option(images_alone, unseen, tmp_path):
    for name, option in (("free", ()), ("bound", ("--respect-scribbles",))):
        program("predict", images_alone, unseen, "--out", tmp_path / name, *option)
    wrong = 0
    for path in (unseen / "scribbles").iterdir():
        scribble = np.asarray(Image.open(path))
        free, bound = (np.asarray(Image.open(tmp_path / name / path.name)) for name in ("free", "bound"))
        assert np.array_equal(bound, np.where(scribble < 255, scribble, free))
        wrong += int((free != bound).sum())
    assert wrong, "a model that agrees with every scribble would prove nothing"


@pytest.fixture
def strange(unseen):
    """The scribble of one slice, with a class that there is not."""
    path = min((unseen / "scribbles").iterdir())
    scribble = np.array(Image.open(path))
    scribble[0, 0] = 7
    Image.fromarray(scribble).save(path)
    return path


def test_a_scribble_of_an_unknown_class_leaves_the_image_out(scribbled, unseen, strange, tmp_path):
    done = program("predict", scribbled[0], unseen, "--out", tmp_path / "masks")
    assert done.exit_code == 1 and f"{strange}: contains the labels 7; allowed are 0 background, 1 ring" in done.stderr


@pytest.mark.parametrize("change", ["fewer", "another order", "other names"])
def test_scribbles_of_other_classes_are_refused(scribbled, unseen, change):
    names = list(CLASSES)
    others = {"fewer": names[:-1], "another order": names[::-1], "other names": [f"{name}2" for name in names]}
    (unseen.parent / "dataset.yaml").write_text(f"classes: [{', '.join(others[change])}]\n")
    words = ("predict", scribbled[0], unseen, "--out", unseen.parent / "masks")
    if change == "other names":
        assert program(*words).exit_code == 0
    else:
        with pytest.raises(UserError, match="so its scribbles would be misread"):
            program(*words)


def test_scribbles_are_read_only_where_something_uses_them(images_alone, unseen, strange, tmp_path):
    image = unseen / "images" / strange.name
    done = program("predict", images_alone, image, "--out", tmp_path / "masks")
    assert done.exit_code == 0 and "1 mask written" in done.stderr
    refining = shutil.copytree(images_alone, tmp_path / "refining")
    config = read_checked(refining / "ensemble.json")["members"][0]["config"]
    chosen = {"version": 1, "config": config, "classes": list(CLASSES), "steps": [{"step": "scribbles"}]}
    write_checked(refining / "refinement.json", chosen)
    for ensemble, option in ((images_alone, ("--respect-scribbles",)), (refining, ())):
        done = program("predict", ensemble, image, "--out", tmp_path / f"by {ensemble.name}", *option)
        assert done.exit_code == 1 and f"{strange}: contains the labels 7" in done.stderr


def test_grey_training_images_are_recognised_though_they_are_renamed(scribbled, class_folder, tmp_path):
    split = tmp_path / "renamed"
    for folder in ("images", "scribbles"):
        (split / folder).mkdir(parents=True)
        path = min((class_folder / "train" / folder).iterdir())
        Image.open(path).save(split / folder / "new.png")
    done = program("predict", scribbled[0], split, "--out", tmp_path / "masks")
    assert "1 of these images were trained on" in done.stderr
    record = json.loads((tmp_path / "masks/predictions.json").read_text())
    assert record["seen"] == ["new"] and tuple(record["classes"]) == load_ensemble(scribbled[0], "cpu").classes
    assert read_scribble(split / "scribbles/new.png", load_ensemble(scribbled[0], "cpu").task).max() == 255


def test_the_command_shows_dice_per_class_of_every_member(class_run, tmp_path):
    done = program("ensemble", class_run.folder, "--out", tmp_path / "ensemble")
    head = done.stdout.splitlines()[1]
    assert head.split() == ["config", "fold", "dice_volume", "miou", *(f"dice_volume_{name}" for name in CLASSES[1:])]
    rows = json.loads(program("ensemble", class_run.folder, "--out", tmp_path / "e", "--format", "json").stdout)
    for line, member in zip(done.stdout.splitlines()[2:5], rows["members"], strict=True):
        assert line.split()[2] == digits(member["out_of_fold"]["dice_volume"])
