"""Folders like those of PASCAL VOC: classes picked by name, ignored pixels kept, lists of images."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from imported_data import pixels, write_palette
from PIL import Image

from trainable.data.class_colours import COLOURS, IGNORED_COLOUR

DOG, PERSON, SHEEP = 12, 15, 17
MASK = np.array([[0, DOG, PERSON], [SHEEP, 255, DOG]], np.uint8)
SCRIBBLE = np.array([[255, DOG, 255], [SHEEP, 255, 0]], np.uint8)
CLASSES = ("--classes", "background,person,dog")


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "VOC2012"
    (root / "JPEGImages").mkdir(parents=True)
    for stem in ("2007_1", "2007_2", "2007_3"):
        Image.new("RGB", (3, 2), (200, 10, 10)).save(root / "JPEGImages" / f"{stem}.jpg")
        write_palette(root / "SegmentationClass" / f"{stem}.png", MASK)
        write_palette(root / "Scribbles" / f"{stem}.png", SCRIBBLE)
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_1\n2007_3\n")
    (lists / "val.txt").write_text("2007_2\n")
    return root


@pytest.fixture
def error(one_line_error, tmp_path, source):
    return lambda *words: one_line_error("voc", source, tmp_path / "out", *words)


def test_classes_are_picked_by_name_and_ignored_pixels_stay_ignored(tmp_path, run_import, source):
    code, said = run_import("voc", source, tmp_path / "out", *CLASSES, "--scribbles", "Scribbles")
    assert code == 0 and "pixels of 18 other classes became background" in said
    split = tmp_path / "out/train"
    assert [path.name for path in sorted((split / "images").iterdir())] == ["2007_1.png", "2007_3.png"]
    assert pixels(split / "ground_truth/2007_1.png").tolist() == [[0, 2, 1], [0, 255, 2]]
    assert pixels(split / "scribbles/2007_1.png").tolist() == [[255, 2, 255], [0, 255, 0]]
    image = pixels(split / "images/2007_1.png")
    assert image.shape == (2, 3, 3) and abs(image.astype(int) - [200, 10, 10]).max() < 10
    description = yaml.safe_load((tmp_path / "out/dataset.yaml").read_text())
    assert description == {"classes": ["background", "person", "dog"], "ignore_label": 255}
    assert not (split / "volumes.csv").exists() and not (split / "groups.csv").exists()


def test_masks_show_a_colour_per_class(tmp_path, run_import, source):
    run_import("voc", source, tmp_path / "out", *CLASSES)
    with Image.open(tmp_path / "out/train/ground_truth/2007_1.png") as mask:
        colours = np.asarray(mask.convert("RGB"))
    assert [tuple(colours[0, x].tolist()) for x in range(3)] == [COLOURS[0], COLOURS[2], COLOURS[1]]
    assert tuple(colours[1, 1].tolist()) == IGNORED_COLOUR


def test_the_list_of_a_split_has_its_name_or_is_chosen(tmp_path, run_import, source, error):
    assert "ImageSets/Segmentation/test.txt: no such list; choose one by --image-set (there: train, val)" in error(
        *CLASSES, "--split", "test"
    )
    assert run_import("voc", source, tmp_path / "out", *CLASSES, "--split", "test", "--image-set", "val")[0] == 0
    assert [path.stem for path in (tmp_path / "out/test/images").iterdir()] == ["2007_2"]


def test_without_lists_all_images_are_imported_and_grey_ones_stay_grey(tmp_path, run_import, source):
    for path in (source / "ImageSets/Segmentation").iterdir():
        path.unlink()
    (source / "ImageSets/Segmentation").rmdir()
    Image.new("L", (3, 2), 90).save(source / "JPEGImages/2007_2.jpg")
    assert run_import("voc", source, tmp_path / "out", *CLASSES)[0] == 0
    split = tmp_path / "out/train"
    assert len(list((split / "images").iterdir())) == 3
    assert pixels(split / "images/2007_2.png").tolist() == [[90] * 3] * 2


def test_classes_and_names_may_come_from_files(tmp_path, run_import, source):
    for path in (source / "SegmentationClass").iterdir():
        write_palette(path, [[0, 1, 2], [2, 1, 0]])
    (tmp_path / "names.txt").write_text("sea\nboat\nswimmer\n")
    (tmp_path / "kept.txt").write_text("sea\nswimmer\n\n")
    words = ("--classes", tmp_path / "kept.txt", "--names", tmp_path / "names.txt")
    assert run_import("voc", source, tmp_path / "out", *words)[0] == 0
    assert pixels(tmp_path / "out/train/ground_truth/2007_1.png").tolist() == [[0, 0, 1], [1, 0, 0]]
    assert yaml.safe_load((tmp_path / "out/dataset.yaml").read_text())["classes"] == ["sea", "swimmer"]


def test_masks_are_optional(tmp_path, run_import, source):
    for path in (source / "SegmentationClass").iterdir():
        path.unlink()
    assert run_import("voc", source, tmp_path / "out", *CLASSES)[0] == 0
    assert not (tmp_path / "out/train/ground_truth").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "voc needs --classes"),
        (["--classes", "background,persn"], "--classes: unknown class 'persn'. Did you mean 'person'?"),
        (["--classes", "person,dog"], "--classes: the first class must be 'background'"),
        (["--classes", "background"], "--classes: classes has 1 name; 2 to 15 are allowed, the background included"),
        (["--classes", "background,dog,dog"], "--classes: class 'dog' is listed twice"),
        (["--classes", "background,,dog"], "--classes: class '': use letters, digits, _ and -"),
        (["--classes", "nowhere.txt"], "nowhere.txt: cannot be read as a list of names"),
        ([*CLASSES, "--scribbles", "nowhere"], "VOC2012/nowhere: no such folder"),
        ([*CLASSES, "--scribbles", "JPEGImages"], "JPEGImages: contains the scribbles of none of the 2 images"),
    ],
)
def test_a_wrong_option_is_one_line(error, words, message):
    assert message in error(*words)


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        ("JPEGImages/2007_1.jpg", lambda p: p.write_bytes(p.read_bytes()[:200]), "cannot be read as an image"),
        ("SegmentationClass/2007_1.png", lambda p: p.write_bytes(b"none"), "cannot be read as an image"),
        ("SegmentationClass/2007_1.png", lambda p: write_palette(p, np.zeros((2, 4))), "is 4x2, its image is 3x2"),
        (
            "SegmentationClass/2007_1.png",
            lambda p: write_palette(p, np.full((2, 3), 30)),
            "contains the value 30; allowed",
        ),
        ("SegmentationClass/2007_1.png", lambda p: Image.new("RGB", (3, 2)).save(p), "is a RGB image; a PNG with"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(error, source, file, spoil, message):
    spoil(source / file)
    assert f"{source / file}: {message}" in error(*CLASSES)


def test_a_listed_image_that_is_missing_is_named(error, source):
    (source / "JPEGImages/2007_3.jpg").unlink()
    assert "train.txt: lists 2007_3, which is not in" in error(*CLASSES)
