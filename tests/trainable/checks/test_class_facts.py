"""The classes of a declared data set: how much there is of each, and which cannot be learnt."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainable.checks.diagnosis import as_document, print_diagnosis
from trainable.checks.doctor import examine
from trainable.data.dataset import Pixels
from trainable.printing import digits

NAMES = ["background", "ring", "core", "crescent"]
MASK, SCRIBBLE = "train/ground_truth/volume000_00.png", "train/scribbles/volume000_00.png"


def read(path: Path) -> Pixels:
    return np.array(Image.open(path))


def all_of(folder: Path) -> Pixels:
    return np.stack([read(path) for path in sorted(folder.iterdir())])


def fill(path: Path, value: int, where: Pixels | slice = slice(None)) -> None:
    pixels = read(path)
    pixels[where] = value
    Image.fromarray(pixels).save(path)


def remove_class(folder: Path, label: int, instead: int) -> None:
    for path in folder.iterdir():
        fill(path, instead, read(path) == label)


def test_a_clean_declared_set_has_no_problem(slices: Path) -> None:
    assert examine(slices).problems == ()


def test_the_shares_of_classes_equal_an_independent_count(slices: Path) -> None:
    masks, scribbles = all_of(slices / "train/ground_truth"), all_of(slices / "train/scribbles")
    document = json.loads(json.dumps(as_document(examine(slices))))
    assert [one["name"] for one in document["classes"]] == NAMES
    for label, one in enumerate(document["classes"]):
        assert one["mask_share"] == pytest.approx((masks == label).mean())
        assert one["mask_images"] == (masks == label).any((1, 2)).sum()
        assert one["scribble_share"] == pytest.approx((scribbles == label).mean())
        assert one["scribble_images"] == (scribbles == label).any((1, 2)).sum()
    assert document["foreground_share"] == pytest.approx((masks > 0).mean())
    assert document["scribble_coverage"]["all"] == pytest.approx((scribbles < 255).mean())


def test_ignored_pixels_count_for_no_class_and_contradict_no_scribble(slices: Path) -> None:
    with (slices / "dataset.yaml").open("a") as file:
        file.write("ignore_label: 255\n")
    fill(slices / MASK, 255, slice(0, 40))
    masks = all_of(slices / "train/ground_truth")
    diagnosis = examine(slices)
    assert diagnosis.problems == ()
    for label, one in enumerate(diagnosis.classes):
        assert one.mask_share == pytest.approx((masks[masks < 255] == label).mean())


def test_a_mask_that_is_ignored_everywhere_is_a_warning(slices: Path) -> None:
    with (slices / "dataset.yaml").open("a") as file:
        file.write("ignore_label: 255\n")
    fill(slices / MASK, 255)
    (problem,) = examine(slices).problems
    assert (problem.file, problem.severity) == (slices / MASK, "warning")
    assert problem.text == "is ignored everywhere: no pixel has a class"


@pytest.mark.parametrize(
    ("folder", "instead", "words"),
    [
        ("ground_truth", 0, "shows crescent in no mask: the class cannot be learnt with supervision=masks"),
        ("scribbles", 255, "shows crescent in no scribble: the class cannot be learnt with supervision=scribbles"),
    ],
)
def test_a_class_that_is_never_shown_is_a_warning(slices: Path, folder: str, instead: int, words: str) -> None:
    remove_class(slices / "train" / folder, 3, instead)
    problems = [one for one in examine(slices).problems if one.kind == "class"]
    assert [(one.file, one.severity, one.text) for one in problems] == [(slices / "train" / folder, "warning", words)]


def test_masks_without_structure_are_counted_and_not_listed(slices: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        fill(slices / f"train/ground_truth/volume000_0{number}.png", 0)
        path = slices / f"train/scribbles/volume000_0{number}.png"
        fill(path, 255, (read(path) > 0) & (read(path) < 255))
    diagnosis = examine(slices)
    assert diagnosis.problems == ()
    assert as_document(diagnosis)["empty_masks"] == 2
    print_diagnosis(diagnosis)
    assert "  empty      2 of 18 masks show background only" in capsys.readouterr().out.splitlines()


def test_a_mask_of_one_structure_alone_is_a_warning(slices: Path) -> None:
    fill(slices / MASK, 2)
    assert "is full: every pixel is core" in [one.text for one in examine(slices).problems if one.kind == "mask"]


def test_an_empty_scribble_is_still_listed(slices: Path) -> None:
    fill(slices / SCRIBBLE, 255)
    assert [(one.file, one.text) for one in examine(slices).problems] == [(slices / SCRIBBLE, "has no scribble at all")]


def test_a_scribble_on_another_class_is_a_contradiction(slices: Path) -> None:
    rings = read(slices / SCRIBBLE) == 1
    assert rings.sum() > 1
    fill(slices / SCRIBBLE, 3, rings)
    (problem,) = examine(slices).problems
    assert (problem.file, problem.kind) == (slices / SCRIBBLE, "contradiction")
    assert problem.text == f"{rings.sum()} scribbled pixels lie on another class of the truth"


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (MASK, "contains the labels 9; allowed are 0 background, 1 ring, 2 core, 3 crescent"),
        (SCRIBBLE, "contains the labels 9; allowed are 0 background, 1 ring, 2 core, 3 crescent, 255 unlabelled"),
    ],
)
def test_a_label_beyond_the_classes_is_an_error(slices: Path, file: str, words: str) -> None:
    fill(slices / file, 9, slice(0, 2))
    assert [(one.file, one.severity, one.text) for one in examine(slices).problems] == [(slices / file, "error", words)]


def test_an_undeclared_255_in_a_mask_names_the_key_that_allows_it(slices: Path) -> None:
    fill(slices / MASK, 255, slice(0, 2))
    (problem,) = examine(slices).problems
    assert problem.text.endswith("3 crescent; ignore_label: 255 in dataset.yaml ignores 255")


def test_the_table_of_classes_is_aligned(slices: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(slices / "train/ground_truth")
    print_diagnosis(examine(slices))
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("  class       of mask pixels  in images  scribbled  in images")
    assert [line.split()[0] for line in lines[start + 1 : start + 5]] == NAMES
    assert {len(line) for line in lines[start : start + 5]} == {len(lines[start])}
    assert lines[start + 1].split()[1:3] == ["-", "-"]  # there are no masks


def test_two_declared_classes_keep_their_line_of_the_foreground(
    slices: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_diagnosis(examine(slices))
    assert "  foreground " not in capsys.readouterr().out
    (slices / "dataset.yaml").write_text("classes: [background, structure]\n")
    for folder in ("train/ground_truth", "train/scribbles", "test1/scribbles"):
        for label in (2, 3):
            remove_class(slices / folder, label, 1)
    diagnosis = examine(slices)
    print_diagnosis(diagnosis)
    output = capsys.readouterr().out
    assert "  foreground " in output
    assert [one.name for one in diagnosis.classes] == ["background", "structure"]


def test_grey_images_have_one_mean(slices: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = all_of(slices / "train/images") / 255
    diagnosis = examine(slices)
    assert diagnosis.mean == (pytest.approx(images.mean()),)
    assert diagnosis.std == (pytest.approx(images.std()),)
    print_diagnosis(diagnosis)
    assert f"  mean       {digits(images.mean())}  (grey in 0..1)" in capsys.readouterr().out.splitlines()


def test_one_image_in_colour_makes_three_channels(slices: Path) -> None:
    path = slices / "train/images/volume000_00.png"
    grey = read(path)
    Image.fromarray(np.dstack([grey, grey, grey // 2])).save(path)
    assert len(examine(slices).mean or ()) == 3
