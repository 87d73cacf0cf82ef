"""NIfTI volumes: orientation, window, pixel size, crop, and which label file belongs to which image."""

from __future__ import annotations

import gzip
import sys

import numpy as np
import pytest
from imported_data import CLASSES, pixels, table, write_nifti

WITH_CLASSES = ("--classes", CLASSES)
FULL_WINDOW = ("--window", "0,100")


def intensities(shape=(4, 6, 3)):
    """0 to 255 in the first and last voxel, so that the full window changes nothing."""
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.int16)
    values.flat[0], values.flat[-1] = 0, 255
    return values


def labels(shape=(4, 6, 3)):
    return np.random.default_rng(1).integers(0, 4, shape).astype(np.uint8)


def scribbles(shape=(4, 6, 3)):
    return np.random.default_rng(2).integers(0, 5, shape).astype(np.uint16)


@pytest.fixture
def source(tmp_path):
    write_nifti(tmp_path / "source/images/s1_DE.nii.gz", intensities())
    write_nifti(tmp_path / "source/labels/s1_DE_manual.nii.gz", labels())
    write_nifti(tmp_path / "source/scribbles/s1_DE_scribble.nii.gz", scribbles())
    return tmp_path / "source"


@pytest.fixture
def run(run_import, tmp_path, source):
    def with_classes(*words):
        code, said = run_import("nifti", source, tmp_path / "out", *WITH_CLASSES, *words)
        assert code == 0, said
        return tmp_path / "out/train"

    return with_classes


@pytest.fixture
def error(one_line_error, tmp_path, source):
    return lambda *words: one_line_error("nifti", source, tmp_path / "out", *WITH_CLASSES, *words)


def test_slices_are_transposed_and_otherwise_as_they_were(run):
    split = run(*FULL_WINDOW)
    for k in range(3):
        stem = f"s1_DE_{k:02d}.png"
        assert np.array_equal(pixels(split / "images" / stem), intensities()[:, :, k].T)
        assert np.array_equal(pixels(split / "ground_truth" / stem), labels()[:, :, k].T)
        drawn = scribbles()[:, :, k].T
        assert np.array_equal(pixels(split / "scribbles" / stem), np.where(drawn == 4, 255, drawn))
    assert table(split / "volumes.csv")[2] == ["s1_DE_01", "s1_DE", "1"]
    assert table(split / "groups.csv")[2] == ["s1_DE_01", "s1_DE"]


@pytest.mark.parametrize(("axis", "plane"), [(0, lambda v, k: v[k].T), (1, lambda v, k: v[:, k].T)])
def test_another_axis_keeps_the_order_of_the_others(run, axis, plane):
    split = run("--axis", axis, *FULL_WINDOW)
    assert len(list((split / "images").iterdir())) == intensities().shape[axis]
    assert np.array_equal(pixels(split / "images/s1_DE_02.png"), plane(intensities(), 2))
    assert np.array_equal(pixels(split / "ground_truth/s1_DE_02.png"), plane(labels(), 2))


def test_the_window_is_of_the_volume_not_of_the_slice(source, run):
    values = np.zeros((4, 5, 2), np.float32)
    values[:, :, 0] = np.arange(20).reshape(4, 5)
    values[:, :, 1] = np.arange(20, 40).reshape(4, 5)
    values.flat[0], values.flat[-1] = -1000, 1000  # the percentiles 5 and 95 are 1.95 and 37.05
    for folder in ("labels", "scribbles"):
        next((source / folder).iterdir()).unlink()
        (source / folder).rmdir()
    write_nifti(source / "images/s1_DE.nii.gz", values)
    split = run("--window", "5,95")
    low, high = np.percentile(values, (5, 95))
    expected = np.rint((np.clip(values, low, high) - low) / (high - low) * 255)
    for k in range(2):
        assert np.allclose(pixels(split / f"images/s1_DE_{k:02d}.png"), expected[:, :, k].T, atol=1)
    assert pixels(split / "images/s1_DE_00.png").max() < 140 < 240 < pixels(split / "images/s1_DE_01.png").max()


def test_a_constant_volume_is_black(source, run):
    write_nifti(source / "images/s1_DE.nii.gz", np.full((4, 6, 3), 7, np.int16))
    assert not pixels(run() / "images/s1_DE_00.png").any()


def test_a_header_scales_intensities(source, run):
    image = intensities().astype(np.float32) * 0.25 - 3
    write_nifti(source / "images/s1_DE.nii.gz", image)
    assert np.array_equal(pixels(run(*FULL_WINDOW) / "images/s1_DE_01.png"), intensities()[:, :, 1].T)


def test_resampling_to_a_pixel_size_averages_images_and_picks_labels(source, run):
    # 4x6 voxels of 1.5 x 0.5 mm are 6 x 3 mm: 3 x 2 pixels of 2 mm, rounded from 3 x 1.5
    shape, zooms = (4, 6, 1), (1.5, 0.5, 5.0)
    checks = np.indices(shape).sum(0).astype(np.int16) % 2 * 255
    mask = np.where(np.arange(4)[:, None, None] < 2, 1, 3) * np.ones(shape, np.uint8)
    write_nifti(source / "images/s1_DE.nii.gz", checks, zooms)
    write_nifti(source / "labels/s1_DE_manual.nii.gz", mask.astype(np.uint8), zooms)
    write_nifti(source / "scribbles/s1_DE_scribble.nii.gz", np.full(shape, 4, np.uint8), zooms)
    split = run("--pixel-size", 2)
    image, truth = pixels(split / "images/s1_DE_00.png"), pixels(split / "ground_truth/s1_DE_00.png")
    assert image.shape == truth.shape == (2, 3)
    assert image.min() > 90 and image.max() < 165  # a checkerboard becomes grey if it is antialiased
    assert truth[:, 0].tolist() == [1, 1] and truth[:, 2].tolist() == [3, 3] and set(np.unique(truth)) == {1, 3}
    assert set(np.unique(pixels(split / "scribbles/s1_DE_00.png"))) == {255}


def test_a_crop_cuts_one_axis_and_fills_the_other(run):
    split = run("--crop", "2x8", *FULL_WINDOW)  # from 4 x 6
    image = intensities()[:, :, 1].T
    expected = np.full((8, 2), image.min())
    expected[1:7] = image[:, 1:3]
    assert np.array_equal(pixels(split / "images/s1_DE_01.png"), expected)
    assert (pixels(split / "ground_truth/s1_DE_01.png")[[0, 7]] == 0).all()
    assert (pixels(split / "scribbles/s1_DE_01.png")[[0, 7]] == 255).all()
    assert np.array_equal(pixels(split / "ground_truth/s1_DE_01.png")[1:7], labels()[1:3, :, 1].T)


def test_another_value_may_mean_unlabelled(source, run):
    write_nifti(source / "scribbles/s1_DE_scribble.nii.gz", labels())
    split = run("--unlabelled", 0)
    expected = labels()[:, :, 0].T
    assert np.array_equal(pixels(split / "scribbles/s1_DE_00.png"), np.where(expected == 0, 255, expected))


def test_a_pattern_gives_ids_and_a_group_is_a_part_of_them(source, run):
    split = run(
        *("--images", "images/{id}_DE.nii.gz", "--labels", "labels/{id}_DE_manual.nii.gz"),
        *("--scribbles", "scribbles/{id}_*.nii.gz", "--group", r"s(\d)"),
    )
    assert table(split / "groups.csv")[1:] == [["s1_00", "1"], ["s1_01", "1"], ["s1_02", "1"]]
    assert len(list((split / "ground_truth").iterdir())) == len(list((split / "scribbles").iterdir())) == 3


def test_a_name_that_goes_on_with_a_digit_is_another_image(source, run):
    write_nifti(source / "images/s1_DE1.nii", intensities())
    write_nifti(source / "labels/s1_DE1-manual.nii", labels() * 0)
    write_nifti(source / "scribbles/s1_DE1.nii", scribbles())
    split = run()
    assert pixels(split / "ground_truth/s1_DE_00.png").any() and not pixels(split / "ground_truth/s1_DE1_00.png").any()


def test_an_image_with_two_labels_is_refused(source, error):
    other = write_nifti(source / "labels/s1_DE_second.nii.gz", labels())
    first = source / "labels/s1_DE_manual.nii.gz"
    assert f"s1_DE.nii.gz: matches {first} and {other} (say which by a pattern with {{id}})" in error()


def test_a_file_that_matches_two_images_is_refused(source, error):
    shorter = write_nifti(source / "images/s1.nii.gz", intensities())
    scribble, image = source / "scribbles/s1_DE_scribble.nii.gz", source / "images/s1_DE.nii.gz"
    assert f"{scribble}: matches {shorter} and {image} (say which by a pattern with {{id}})" in error()


def test_an_equal_name_is_no_ambiguity(source, run):
    write_nifti(source / "images/s1.nii.gz", intensities())
    for folder, values in (("labels", labels()), ("scribbles", scribbles())):
        next((source / folder).iterdir()).unlink()
        write_nifti(source / folder / "s1_DE.nii.gz", values)
        write_nifti(source / folder / "s1.nii.gz", values)
    assert len(list((run() / "ground_truth").iterdir())) == 6


def test_an_image_without_its_label_is_refused_where_labels_are_asked_for(source, error):
    extra = write_nifti(source / "images/s2_DE.nii.gz", intensities())
    write_nifti(source / "scribbles/s2_DE_scribble.nii.gz", scribbles())
    assert f"{extra}: has no match in {source / 'labels'}" in error("--labels", "labels")


def test_without_labels_only_images_and_scribbles_are_written(source, run):
    (source / "labels/s1_DE_manual.nii.gz").unlink()
    (source / "labels").rmdir()
    assert {path.name for path in run().iterdir() if path.is_dir()} == {"images", "scribbles"}


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        ("images/s1_DE", lambda p: p.write_bytes(p.read_bytes()[:-90]), "cannot be read as NIfTI; it is damaged"),
        ("labels/s1_DE_manual", lambda p: p.write_bytes(b"none"), "cannot be read as NIfTI"),
        ("images/s1_DE", lambda p: p.write_bytes(gzip.compress(b"x" * 999)), "cannot be read as NIfTI"),
        ("images/s1_DE", lambda p: write_nifti(p, np.zeros((4, 6, 3, 2), np.int16)), "has the shape 4x6x3x2; a volume"),
        (
            "labels/s1_DE_manual",
            lambda p: write_nifti(p, labels((4, 6, 2))),
            "has the shape 4x6x2, its image has 4x6x3",
        ),
        (
            "labels/s1_DE_manual",
            lambda p: write_nifti(p, labels() + np.uint8(3)),
            "contains the values 4, 5, 6; allowed",
        ),
        (
            "scribbles/s1_DE_scribble",
            lambda p: write_nifti(p, scribbles() + np.uint16(4)),
            "contains the values 5, 6, 7",
        ),
        (
            "images/s1_DE",
            lambda p: write_nifti(p, np.full((4, 6, 3), np.inf, np.float32)),
            "contains voxels that are inf",
        ),
        (
            "images/s1_DE",
            lambda p: write_nifti(p, np.zeros((4, 6, 3), np.complex64)),
            "has voxels of the type complex64",
        ),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(source, error, file, spoil, message):
    path = source / f"{file}.nii.gz"
    spoil(path)
    assert f"{path}: {message}" in error()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "pictures"], "source/pictures: matches no file; --images says where they are"),
        (["--images", "../images"], "--images ../images: write a folder or pattern that is relative to"),
        (["--pixel-size", "0"], "--pixel-size 0: a size above 0 is needed"),
        (["--pixel-size", "1e-4"], "s1_DE.nii.gz: --pixel-size 0.0001 makes "),
        (["--crop", "9000x8"], "--crop 9000x8: at most 8192x8192 is allowed"),
        (["--unlabelled", "-1"], "--unlabelled -1: 0 to 65535 are allowed"),
        (["--crop", "5"], "--crop '5': write WIDTHxHEIGHT, as in 212x212"),
        (["--crop", "0x5"], "--crop '0x5': width and height of at least 1 are needed"),
        (["--window", "1"], "--window '1': write LOW,HIGH"),
        (["--window", "99,1"], "--window '99,1': two percentiles from 0 to 100"),
        (["--group", "("], "--group '(': is no regular expression"),
        (["--group", "patient"], "s1_DE.nii.gz: the group 'patient' is not in the id 's1_DE'"),
    ],
)
def test_a_wrong_option_is_one_line(error, words, message):
    assert message in error(*words)


def test_classes_are_needed(one_line_error, tmp_path, source):
    assert "nifti needs --classes" in one_line_error("nifti", source, tmp_path / "out")


def test_a_missing_package_is_named_with_its_extra(error, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    assert "importing nifti needs nibabel; install it with: pip install 'scribble-search[medical]'" in error()
