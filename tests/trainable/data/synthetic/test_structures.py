"""Synthetic structures of several classes: nested, touching, learnable by their looks, and smooth through a volume."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import yaml
from PIL import Image

from trainable import exit_codes
from trainable.__main__ import app
from trainable.data import dataset
from trainable.data.reading import read_mask, read_scribble
from trainable.data.synthetic import structures
from trainable.data.synthetic.structures import Body, class_look, class_names, make_slices
from trainable.data.synthetic.synthesize import synthesize
from trainable.errors import UserError

Pixels = npt.NDArray[np.uint8]
WIDTH, HEIGHT, IMAGES = 160, 128, 40


def make(
    folder: Path,
    images: int = IMAGES,
    test_images: int = 0,
    seed: int = 0,
    classes: int = 4,
    volumes: int | None = None,
    grey: bool = False,
) -> Path:
    synthesize(folder, images, test_images, WIDTH, HEIGHT, seed, classes=classes, volumes=volumes, grey=grey)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pixels(path: Path, mode: str | None = None) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode) if mode else image)


def form(path: Path) -> tuple[str | None, str]:
    with Image.open(path) as image:
        return image.format, image.mode


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def masks_and_scribbles(folder: Path) -> list[tuple[Pixels, Pixels]]:
    train = folder / "train"
    return [(pixels(mask), pixels(train / "scribbles" / mask.name)) for mask in sorted(train.glob("ground_truth/*"))]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("structures") / "single", test_images=3)


@pytest.fixture(scope="module")
def all_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("structures") / "all", classes=15)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("structures") / "volumes", 83, 21, volumes=8, grey=True)


def test_files_have_the_modes_of_the_format(single: Path, volumes: Path) -> None:
    for folder, image in ((single, ("JPEG", "RGB")), (volumes, ("PNG", "L"))):
        for name, split in dataset.find_splits(folder).items():
            assert not split.missing_partners() and split.labelled == (name == "train")
            assert [form(files[split.stems[0]]) for files in (split.images, split.scribbles)] == [image, ("PNG", "L")]
        assert form(next((folder / "train/ground_truth").iterdir())) == ("PNG", "P")


def test_masks_have_a_colour_for_each_class(all_classes: Path) -> None:
    with Image.open(next((all_classes / "train/ground_truth").iterdir())) as mask:
        palette = np.array(mask.getpalette()).reshape(-1, 3)[:15]
    assert len(palette) == 15 and len(np.unique(palette, axis=0)) == 15


@pytest.mark.parametrize("classes", [3, 4, 15])
def test_classes_are_named_beside_the_splits(classes: int, tmp_path: Path) -> None:
    document = yaml.safe_load((make(tmp_path / "data", 1, classes=classes) / "dataset.yaml").read_text())
    assert document == {"classes": list(class_names(classes))}
    assert len(set(document["classes"])) == classes and document["classes"][:3] == ["background", "ring", "core"]


def test_all_classes_are_shown_but_not_in_every_image(single: Path, all_classes: Path) -> None:
    for folder, classes in ((single, 4), (all_classes, 15)):
        shown = [set(np.unique(mask).tolist()) for mask, _ in masks_and_scribbles(folder)]
        assert set.union(*shown) == set(range(classes))
        assert any(len(labels) < classes for labels in shown)
        assert all(len(labels) > 1 for labels in shown), "each image without a volume shows something"


def test_each_shown_class_is_scribbled_on_and_nothing_else(single: Path, all_classes: Path, volumes: Path) -> None:
    for folder in (single, all_classes, volumes):
        for mask, scribble in masks_and_scribbles(folder):
            labelled = scribble != dataset.UNLABELLED
            assert np.array_equal(scribble[labelled], mask[labelled])
            assert set(np.unique(scribble[labelled])) == set(np.unique(mask))
            assert labelled.mean() < 0.12


def neighbours_of(region: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return (cv2.dilate(region.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~region


def test_a_core_lies_inside_its_ring_and_the_crescent_touches_it(single: Path) -> None:
    around, touching = [], []
    for mask, _ in masks_and_scribbles(single):
        if (mask == 2).any():
            around += mask[neighbours_of(mask == 2)].tolist()
        if (mask == 3).any():
            touching.append(bool((mask[neighbours_of(mask == 3)] == 1).any()))
    assert set(around) == {1}
    assert len(touching) > 10 and np.mean(touching) > 0.9


def test_a_class_looks_alike_in_every_image_and_unlike_the_others(single: Path) -> None:
    grey: dict[int, list[float]] = {1: [], 2: [], 3: []}
    for path in sorted((single / "train/ground_truth").iterdir()):
        mask, image = pixels(path), pixels(single / f"train/images/{path.stem}.jpg", "L")
        for label in set(np.unique(mask).tolist()) - {0}:
            grey[label].append(float(image[mask == label].mean()))
    means = {label: np.mean(values) for label, values in grey.items()}
    assert all(np.std(values) < 15 for values in grey.values())
    assert abs(means[1] - means[2]) > 40 and abs(means[2] - means[3]) > 40


def test_distractors_are_as_light_as_a_class_but_of_another_pattern_and_paler() -> None:
    look, rng = class_look(1), np.random.default_rng(0)
    for _ in range(100):
        kind, outline = structures._distractor(rng, 2, WIDTH, HEIGHT)
        assert kind.pattern != look.pattern and abs(kind.colours[0, 0] - look.colours[0, 0]) < 20
        assert np.hypot(*kind.colours[0, 1:]) < 20 < np.hypot(*look.colours[0, 1:])
        assert 0.005 < cv2.contourArea(outline.astype(np.float32)) / (WIDTH * HEIGHT) < 0.06


def test_distractors_are_painted_under_the_structures() -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[40:60, 40:60] = 1
    square = np.array([(20, 20), (80, 20), (80, 80), (20, 80)], float)
    images = [
        structures._paint(np.random.default_rng(0), Body((), np.array([60.0, 0, 0]), distractors, 1), mask).astype(int)
        for distractors in ((), ((class_look(2), square),))
    ]
    change = np.abs(images[0] - images[1]).sum(axis=-1)
    assert np.median(change[25:35, 25:75]) > 30
    assert np.median(change[43:57, 43:57]) == np.median(change[90:]) == 0


def test_volumes_and_groups_list_every_slice(volumes: Path) -> None:
    for split, lengths in (("train", [11, 11, 11, 10, 10, 10, 10, 10]), ("test1", [11, 10])):
        rows, groups = table(volumes / split / "volumes.csv"), table(volumes / split / "groups.csv")
        assert list(rows[0]) == ["stem", "volume", "slice"] and list(groups[0]) == ["stem", "group"]
        stems = [row["stem"] for row in rows]
        assert stems == [row["stem"] for row in groups] == dataset.find_splits(volumes)[split].stems
        assert [row["group"] for row in groups] == [row["volume"] for row in rows]
        assert list(Counter(row["volume"] for row in rows).values()) == lengths
        assert all(row["stem"] == f"{row['volume']}_{int(row['slice']):02d}" for row in rows)
    assert "volume003_07" in dataset.open_split(volumes).images
    assert not {row["volume"] for row in rows} & {row["volume"] for row in table(volumes / "train/volumes.csv")}


def test_structures_change_smoothly_from_slice_to_slice() -> None:
    overlaps, empty, ends = [], [], []
    for seed in range(20):
        masks = [mask for _, _, mask in make_slices(np.random.default_rng(seed), 10, 4, WIDTH, HEIGHT, True)]
        shown = [bool(mask.any()) for mask in masks]
        assert all(shown[1:-1])
        ends.append(not shown[0] and not shown[-1])
        empty += [not each for each in shown]
        for one, other in pairwise(masks):
            if one.any() and other.any():
                overlaps.append(2 * ((one > 0) & (other > 0)).sum() / ((one > 0).sum() + (other > 0).sum()))
    assert np.median(overlaps) > 0.85 and min(overlaps) > 0.3
    assert 0.05 < np.mean(empty) < 0.15
    assert any(ends) and not all(ends)


@pytest.mark.parametrize("label", [0, 1])
def test_textures_stay_through_a_volume_while_the_noise_does_not(label: int) -> None:
    slices = list(make_slices(np.random.default_rng(3), 9, 4, WIDTH, HEIGHT, True))
    (one, _, mask), (other, _, other_mask) = slices[4], slices[5]
    shared = cv2.erode(((mask == label) & (other_mask == label)).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    pair = [cv2.GaussianBlur(image.astype(float), (0, 0), 1)[shared] for image in (one, other)]
    assert shared.sum() > 200 and np.corrcoef(*pair)[0, 1] > 0.8
    assert (one[shared] != other[shared]).mean() > 0.5


@pytest.mark.parametrize("arguments", [{"classes": 5}, {"volumes": 2, "grey": True}])
def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(arguments: dict[str, int], tmp_path: Path) -> None:
    first, again, other = (
        contents(make(tmp_path / name, 4, 2, seed, **arguments)) for name, seed in zip("abc", (1, 1, 2), strict=True)
    )
    assert first == again
    drawn = [name for name in first if "images" in name]
    assert len(drawn) == 6 and all(first[name] != other[name] for name in drawn)


def test_a_larger_set_begins_with_the_smaller_one(tmp_path: Path) -> None:
    pairs = [(make(tmp_path / "a", 2), make(tmp_path / "b", 3))]
    pairs.append((make(tmp_path / "c", 6, volumes=2), make(tmp_path / "d", 9, volumes=3)))
    for small, large in pairs:
        after = contents(large)
        before = {name: data for name, data in contents(small).items() if not name.endswith(".csv")}
        assert len(after) > len(before) and all(after[name] == data for name, data in before.items())


def test_two_classes_in_volumes_are_foreground_and_background(tmp_path: Path) -> None:
    folder = make(tmp_path / "data", 6, classes=2, volumes=2)
    assert yaml.safe_load((folder / "dataset.yaml").read_text()) == {"classes": ["background", "foreground"]}
    split = dataset.open_split(folder)
    for stem in split.stems:
        mask, scribble = read_mask(split.truth[stem]), read_scribble(split.scribbles[stem])
        assert set(np.unique(mask)) == {0, 1} and set(np.unique(scribble)) == {0, 1, 255}


def test_the_smallest_images_show_fifteen_classes(tmp_path: Path) -> None:
    synthesize(tmp_path / "data", 12, 0, 64, 64, 0, classes=15)
    assert set.union(*(set(np.unique(mask)) for mask, _ in masks_and_scribbles(tmp_path / "data"))) == set(range(15))


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        make(tmp_path / "data", 3, seed=-1, classes=16, volumes=4)
    said = str(error.value)
    assert said == (
        "seed -1: 0 or more is allowed; classes 16: allowed are 2 to 15, with the background; "
        "volumes 4: allowed are 1 to 3, the number of images"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--classes", "1"], "classes 1: allowed are 2 to 15"),
        (["--classes", "16"], "classes 16: allowed are 2 to 15"),
        (["--volumes", "0"], "volumes 0: allowed are 1 to 3"),
        (["--volumes", "4"], "volumes 4: allowed are 1 to 3, the number of images"),
        (["--grey"], "grey images: need more than 2 classes, or volumes"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["trainable", "synthesize", str(tmp_path / "data"), "--images", "3", "--size", "64x64", *words]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        exit_codes.run(app)
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert said in message and len(message.splitlines()) == 1


def test_the_command_passes_its_options_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--images", "6", "--size", "64x64", "--classes", "4", "--volumes", "2", "--grey"]
    monkeypatch.setattr(sys, "argv", ["trainable", "synthesize", str(tmp_path / "command"), *words])
    with pytest.raises(SystemExit) as end:
        exit_codes.run(app)
    assert end.value.code == 0
    synthesize(tmp_path / "call", 6, 0, 64, 64, 0, classes=4, volumes=2, grey=True)
    assert contents(tmp_path / "command") == contents(tmp_path / "call")
