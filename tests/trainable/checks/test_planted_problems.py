"""Every kind of problem is planted once in a clean data set and must be found with its file, alone and all at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checked_samples import IMAGE, SCRIBBLE, TRUTH, cut_short, mask, paint, picture, problems, save, scribble
from PIL import Image

from trainable.checks.doctor import examine

Plant = Callable[[Path], object]


def test_a_clean_set_has_no_problem(data: Path) -> None:
    assert examine(data).problems == ()


def turn_by_exif(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)


def transparent(path: Path) -> None:
    Image.open(path).convert("RGBA").save(path)
    paint(path, 0, slice(10))


def sixteen_bits(path: Path) -> None:
    Image.fromarray(picture(1)[..., 0].astype(np.uint16) * 200).save(path)


# What is done to the data set, and the file, kind and words of the one problem that this must be.
PLANTED: dict[str, tuple[Plant, str, str, str]] = {
    "a scribble is missing": (
        lambda data: (data / SCRIBBLE / "p0.png").unlink(),
        f"{IMAGE}/p0.jpg",
        "missing partner",
        "has no partner p0.* in scribbles",
    ),
    "a mask is missing": (
        lambda data: (data / TRUTH / "p0.png").unlink(),
        f"{IMAGE}/p0.jpg",
        "missing partner",
        "has no partner p0.* in ground_truth",
    ),
    "an image is missing": (
        lambda data: (data / IMAGE / "p0.jpg").unlink(),
        f"{SCRIBBLE}/p0.png",
        "missing partner",
        "has no partner p0.* in images",
    ),
    "a mask stands alone": (
        lambda data: save(data / TRUTH / "alone.png", mask()),
        f"{TRUTH}/alone.png",
        "missing partner",
        "has no partner alone.* in images and in scribbles",
    ),
    "two files share a stem": (
        lambda data: save(data / IMAGE / "p0.png", picture(0)),
        f"{IMAGE}/p0.png",
        "shared stem",
        "shares its stem with p0.jpg",
    ),
    "an image is cut short": (
        lambda data: cut_short(data / IMAGE / "p0.jpg"),
        f"{IMAGE}/p0.jpg",
        "unreadable",
        "damaged or truncated",
    ),
    "a mask is cut short": (
        lambda data: cut_short(data / TRUTH / "p0.png"),
        f"{TRUTH}/p0.png",
        "unreadable",
        "damaged or truncated",
    ),
    "a scribble is text": (
        lambda data: (data / SCRIBBLE / "p0.png").write_text("no picture"),
        f"{SCRIBBLE}/p0.png",
        "unreadable",
        "damaged or truncated",
    ),
    "an image is empty": (
        lambda data: (data / IMAGE / "p0.jpg").write_bytes(b""),
        f"{IMAGE}/p0.jpg",
        "unreadable",
        "damaged or truncated",
    ),
    "an image leads nowhere": (
        lambda data: ((data / IMAGE / "p0.jpg").unlink(), (data / IMAGE / "p0.jpg").symlink_to("nowhere.jpg")),
        f"{IMAGE}/p0.jpg",
        "unreadable",
        "does not exist",
    ),
    "a scribble has a label too many": (
        lambda data: paint(data / SCRIBBLE / "p0.png", 7, slice(3)),
        f"{SCRIBBLE}/p0.png",
        "labels",
        "contains the labels 7; allowed are 0 background, 1 foreground, 255 unlabelled",
    ),
    "a mask has a label too many": (
        lambda data: paint(data / TRUTH / "p0.png", 2, slice(3)),
        f"{TRUTH}/p0.png",
        "labels",
        "contains the labels 2; allowed are 0 and 1",
    ),
    "a scribble is coloured": (
        lambda data: save(data / SCRIBBLE / "p0.png", picture(0)),
        f"{SCRIBBLE}/p0.png",
        "labels",
        "has different channels",
    ),
    "a mask has another size": (
        lambda data: save(data / TRUTH / "p0.png", mask()[:40]),
        f"{TRUTH}/p0.png",
        "size",
        "is 72x40, but its image 72x48",
    ),
    "a scribble has another size": (
        lambda data: save(data / SCRIBBLE / "p0.png", scribble()[:, :70]),
        f"{SCRIBBLE}/p0.png",
        "size",
        "is 70x48, but its image 72x48",
    ),
    "a mask was drawn on the image turned upright": (
        lambda data: save(data / TRUTH / "p0.png", mask().T),
        f"{TRUTH}/p0.png",
        "size",
        "is 48x72, but its image 72x48: rotated by 90 degrees",
    ),
    "groups of unknown images": (
        lambda data: (data / "train" / "groups.csv").write_text("stem,group\np0,a\np9,a\n"),
        "train/groups.csv",
        "groups",
        "line 3: no image has the stem 'p9'",
    ),
    "groups without their column": (
        lambda data: (data / "train" / "groups.csv").write_text("stem,patient\np0,a\n"),
        "train/groups.csv",
        "groups",
        "needs the columns stem and group",
    ),
    "a split without images": (
        lambda data: (data / "test2" / "images").mkdir(parents=True),
        "test2/images",
        "split",
        "contains no image",
    ),
    "groups of some images only": (
        lambda data: (data / "train" / "groups.csv").write_text("stem,group\np0,a\np1,a\np2,b\np3,b\n"),
        "train/groups.csv",
        "ungrouped",
        "lists no group for 2 images (p4, p5)",
    ),
    "no background scribble": (
        lambda data: paint(data / SCRIBBLE / "p0.png", 255, slice(5, 6)),
        f"{SCRIBBLE}/p0.png",
        "scribble",
        "has no background scribble",
    ),
    "no foreground scribble": (
        lambda data: paint(data / SCRIBBLE / "p0.png", 255, slice(20, 21)),
        f"{SCRIBBLE}/p0.png",
        "scribble",
        "has no foreground scribble",
    ),
    "no scribble at all": (
        lambda data: paint(data / SCRIBBLE / "p0.png", 255),
        f"{SCRIBBLE}/p0.png",
        "scribble",
        "has no scribble at all",
    ),
    "a scribble like a mask": (
        lambda data: save(data / SCRIBBLE / "p0.png", mask()),
        f"{SCRIBBLE}/p0.png",
        "scribble",
        "labels 100% of its pixels",
    ),
    "a scribble against the truth": (
        lambda data: paint(data / TRUTH / "p0.png", 1, slice(5, 6), slice(48, 72)),
        f"{SCRIBBLE}/p0.png",
        "contradiction",
        "12 scribbled pixels lie on the other class",
    ),
    "a 16-bit image": (
        lambda data: sixteen_bits(data / IMAGE / "p1.png"),
        f"{IMAGE}/p1.png",
        "colours",
        "more than 8 bits",
    ),
    "a transparent image": (
        lambda data: transparent(data / IMAGE / "p1.png"),
        f"{IMAGE}/p1.png",
        "colours",
        "transparent in places",
    ),
    "a turned photograph": (
        lambda data: turn_by_exif(data / IMAGE / "p0.jpg"),
        f"{IMAGE}/p0.jpg",
        "colours",
        "EXIF orientation (6)",
    ),
    "a picture in another format": (
        lambda data: save(data / IMAGE / "p9.bmp", picture(9)),
        f"{IMAGE}/p9.bmp",
        "not read",
        "convert it to one of .jpg, .jpeg, .png",
    ),
    "groups beside the splits": (
        lambda data: (data / "groups.csv").write_text("stem,group\np0,a\n"),
        "groups.csv",
        "not read",
        "move it to train/groups.csv",
    ),
    "volumes that nothing declares": (
        lambda data: (data / "train" / "volumes.csv").write_text("stem,volume,slice\np0,a,0\n"),
        "train/volumes.csv",
        "not read",
        "is ignored, since no dataset.yaml beside the splits declares the data set",
    ),
    "a dataset.yaml in a split": (
        lambda data: (data / "train" / "dataset.yaml").write_text("classes: [background, ring, core]\n"),
        "train/dataset.yaml",
        "not read",
        "is ignored here; move it to dataset.yaml, beside the splits",
    ),
    "a folder that is no split": (
        lambda data: (data / "test3" / "scribbles").mkdir(parents=True),
        "test3",
        "not read",
        "it has no folder images",
    ),
}
WARNINGS = ("scribble", "contradiction", "colours", "not read", "ungrouped")


@pytest.mark.parametrize(("plant", "file", "kind", "words"), PLANTED.values(), ids=PLANTED)
def test_a_planted_problem_is_found_with_its_file_and_nothing_else(
    data: Path, plant: Plant, file: str, kind: str, words: str
) -> None:
    plant(data)
    diagnosis = examine(data)
    assert problems(diagnosis) == [(file, kind, "warning" if kind in WARNINGS else "error")]
    assert words in diagnosis.problems[0].text


@pytest.mark.parametrize(
    ("value", "words", "wrong"),
    [(0, "is empty: no pixel is foreground", 15), (1, "is full: every pixel is foreground", 50)],
)
def test_a_mask_of_one_class_is_a_warning_and_contradicts_its_scribble(
    data: Path, value: int, words: str, wrong: int
) -> None:
    paint(data / TRUTH / "p0.png", value)
    diagnosis = examine(data)
    assert problems(diagnosis) == [
        (f"{TRUTH}/p0.png", "mask", "warning"),
        (f"{SCRIBBLE}/p0.png", "contradiction", "warning"),
    ]
    assert [one.text for one in diagnosis.problems] == [
        words,
        f"{wrong} scribbled pixels lie on the other class of the truth",
    ]


def test_each_mistake_of_the_groups_is_a_problem_in_the_order_of_lines(data: Path) -> None:
    rows = "".join(f"q{k},a\n" for k in range(10))
    (data / "train" / "groups.csv").write_text(f"stem,group\n{rows}")
    assert [one.text.split(":")[0] for one in examine(data).problems] == [f"line {k}" for k in range(2, 12)]


def test_all_problems_are_listed_errors_first(data: Path) -> None:
    cut_short(data / IMAGE / "p0.jpg")
    (data / SCRIBBLE / "p1.png").unlink()
    paint(data / TRUTH / "p2.png", 9, slice(3))
    save(data / TRUTH / "p3.png", mask()[:40])
    paint(data / SCRIBBLE / "p4.png", 255)
    save(data / IMAGE / "p5.png", picture(7))
    assert problems(examine(data)) == [
        (f"{IMAGE}/p1.png", "missing partner", "error"),
        (f"{IMAGE}/p0.jpg", "unreadable", "error"),
        (f"{TRUTH}/p2.png", "labels", "error"),
        (f"{TRUTH}/p3.png", "size", "error"),
        ("test1/images/p7.png", "duplicate", "warning"),
        (f"{SCRIBBLE}/p4.png", "scribble", "warning"),
    ]


def test_one_file_may_have_several_problems(data: Path) -> None:
    save(data / TRUTH / "p0.png", mask()[:40] * 3)
    assert problems(examine(data)) == [(f"{TRUTH}/p0.png", kind, "error") for kind in ("labels", "size")]


def test_a_copy_in_another_split_is_a_leak_between_splits(data: Path) -> None:
    save(data / "test1" / "images" / "p7.png", picture(3))
    (problem,) = examine(data).problems
    assert problem.file == data / "test1" / "images" / "p7.png"
    assert problem.text == "has exactly the pixels of train/images/p3.png: a leak between train and test1"


def test_a_mirrored_copy_within_the_training_split_is_a_leak_between_folds(data: Path) -> None:
    save(data / IMAGE / "p5.png", picture(3)[:, ::-1])
    (problem,) = examine(data).problems
    assert problem.file == data / IMAGE / "p5.png"
    assert problem.text.startswith("shows the same picture as train/images/p3.png, mirrored: a leak between folds")


def test_copies_that_a_group_keeps_together_are_no_leak(data: Path) -> None:
    save(data / IMAGE / "p5.png", picture(3))
    assert [one.kind for one in examine(data).problems] == ["duplicate"]
    groups = {"p0": "a", "p1": "b", "p2": "c", "p3": "d", "p4": "e", "p5": "d"}
    (data / "train" / "groups.csv").write_text("stem,group\n" + "".join(f"{k},{v}\n" for k, v in groups.items()))
    assert examine(data).problems == ()


def test_without_a_declaration_only_the_groups_of_the_training_split_are_read(data: Path) -> None:
    (data / "test1" / "groups.csv").write_text("stem,group\nunknown,a\n")
    assert examine(data).problems == ()
