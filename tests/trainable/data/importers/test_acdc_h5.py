"""ACDC in HDF5: slices, volumes, both; every value as it was, and every bad file named."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import yaml
from imported_data import contents, pixels, table, volume, write_h5, write_slices

NAME = "patient001_frame01"
SLICES, VOLUMES = "ACDC_training_slices", "ACDC_training_volumes"


def check_pixels(split, arrays, numbers=range(3), name=NAME):
    for k in numbers:
        stem = f"{name}_{k:02d}.png"
        assert np.array_equal(pixels(split / "images" / stem), np.rint(arrays["image"][k] * 255))
        assert np.array_equal(pixels(split / "ground_truth" / stem), arrays["label"][k])
        scribble = arrays["scribble"][k]
        assert np.array_equal(pixels(split / "scribbles" / stem), np.where(scribble == 4, 255, scribble))


@pytest.mark.parametrize("form", ["slices", "volumes"])
def test_slices_and_volumes_give_the_same_data_set(tmp_path, run_import, form):
    arrays = volume()
    if form == "slices":
        write_slices(tmp_path / SLICES, NAME, arrays)
        source = tmp_path / SLICES
    else:
        source = write_h5(tmp_path / VOLUMES / f"{NAME}.h5", **arrays).parent
    code, said = run_import("acdc-h5", source, tmp_path / "out")
    assert code == 0 and "3 images of 1 volume, with scribbles and masks" in said
    split = tmp_path / "out/train"
    check_pixels(split, arrays)
    rows = [f"{NAME}_{k:02d}" for k in range(3)]
    assert table(split / "volumes.csv") == [
        ["stem", "volume", "slice"],
        *([row, NAME, str(k)] for k, row in enumerate(rows)),
    ]
    assert table(split / "groups.csv") == [["stem", "group"], *([row, "patient001"] for row in rows)]
    assert yaml.safe_load((tmp_path / "out/dataset.yaml").read_text()) == {"classes": ["background", "RV", "MYO", "LV"]}


def test_slices_are_preferred_and_volumes_fill_the_gaps(tmp_path, run_import):
    slices, whole = volume(), volume()
    slices["label"][:] = 3
    for path in write_slices(tmp_path / SLICES, NAME, slices)[1:2]:
        path.unlink()
    write_h5(tmp_path / VOLUMES / f"{NAME}.h5", **whole)
    write_h5(tmp_path / VOLUMES / "patient002_frame10.h5", **whole)
    assert run_import("acdc-h5", tmp_path, tmp_path / "out")[0] == 0
    split = tmp_path / "out/train"
    check_pixels(split, slices, (0, 2))
    check_pixels(split, whole, (1,))
    check_pixels(split, whole, name="patient002_frame10")
    assert len(list((split / "images").iterdir())) == 6


@pytest.mark.parametrize(
    ("keys", "folders"), [(["scribble"], {"scribbles"}), (["label"], {"ground_truth"}), ([], set())]
)
def test_scribbles_and_labels_are_optional(tmp_path, run_import, keys, folders):
    arrays = {key: values for key, values in volume().items() if key in ("image", *keys)}
    write_slices(tmp_path / "source", NAME, arrays)
    assert run_import("acdc-h5", tmp_path / "source", tmp_path / "out")[0] == 0
    assert {path.name for path in (tmp_path / "out/train").iterdir() if path.is_dir()} == {"images", *folders}


def test_the_images_are_grey(tmp_path, run_import):
    write_slices(tmp_path / "source", NAME, volume())
    run_import("acdc-h5", tmp_path / "source", tmp_path / "out")
    assert all(pixels(path).shape == (6, 4) for path in (tmp_path / "out/train/images").iterdir())


def cut_short(path, arrays):
    path.write_bytes(path.read_bytes()[:1500])


def rewrite(**changes):
    def change(path, arrays):
        first = {key: values[0] for key, values in arrays.items()} | changes
        write_h5(path, **{key: values for key, values in first.items() if values is not None})

    return change


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut_short, "cannot be read as HDF5; it is damaged or truncated"),
        (lambda path, arrays: path.write_bytes(b"none"), "cannot be read as HDF5"),
        (rewrite(image=None), "has no key 'image', only label, scribble"),
        (rewrite(label=np.zeros((6, 5), np.uint8)), "'label' has the shape 6x5, 'image' has 6x4"),
        (rewrite(label=np.full((6, 4), 4)), "'label' contains the value 4; allowed are 0, 1, 2, 3"),
        (
            rewrite(scribble=np.full((6, 4), 9)),
            "'scribble' contains the value 9; allowed are 0, 1, 2, 3, 4 (unlabelled)",
        ),
        (rewrite(label=np.full((6, 4), 0.5)), "'label' contains the value 0.5"),
        (rewrite(image=np.full((6, 4), 300.0)), "'image' has values from 300 to 300; expected are 0 to 1"),
        (rewrite(image=np.full((6, 4), np.nan)), "'image' has values from nan to nan"),
        (rewrite(image=np.zeros((2, 6, 4))), "'image' has the shape 2x6x4; a slice has 2 dimensions"),
        (rewrite(label=np.array([b"text"])), "'label' is no array of numbers"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path, one_line_error, spoil, message):
    arrays = volume()
    path = write_slices(tmp_path / "source", NAME, arrays)[0]
    spoil(path, arrays)
    said = one_line_error("acdc-h5", tmp_path / "source", tmp_path / "out")
    assert f"{path}: {message}" in said


def test_files_without_a_label_are_imported_and_named(tmp_path, run_import):
    arrays = volume()
    path = write_slices(tmp_path / "source", NAME, arrays)[0]
    rewrite(label=None)(path, arrays)
    code, said = run_import("acdc-h5", tmp_path / "source", tmp_path / "out")
    assert code == 0 and f"1 of 3 files have no masks: {path.name}" in said
    assert len(list((tmp_path / "out/train/images").iterdir())) == 3
    assert len(list((tmp_path / "out/train/ground_truth").iterdir())) == 2


def test_all_bad_files_are_named_up_to_twenty(tmp_path, run_import):
    paths = write_slices(tmp_path / "source", NAME, volume(25))
    for path in paths[:11]:
        path.write_bytes(b"none")  # found when it is opened
    for path in paths[11:22]:
        write_h5(path, image=np.full((6, 4), 7.0), label=np.zeros((6, 4)), scribble=np.zeros((6, 4)))  # when it is read
    code, said = run_import("acdc-h5", tmp_path / "source", tmp_path / "out")
    assert code == 2 and "22 problems in the source" in said
    assert sum(str(path) in said for path in paths) == 20 and said.endswith("and 2 more\n")
    assert not (tmp_path / "out/train").exists()


def test_two_files_of_one_slice_are_refused(tmp_path, one_line_error):
    first = write_slices(tmp_path / "source/a", NAME, volume(1))[0]
    second = write_slices(tmp_path / "source/b", NAME, volume(1))[0]
    assert f"{second}: holds the same slices as {first}" in one_line_error(
        "acdc-h5", tmp_path / "source", tmp_path / "out"
    )


def test_a_folder_without_h5_files_is_refused(tmp_path, one_line_error):
    (tmp_path / "source").mkdir()
    assert "source: contains no .h5 file" in one_line_error("acdc-h5", tmp_path / "source", tmp_path / "out")
    assert "nowhere: no such folder" in one_line_error("acdc-h5", tmp_path / "nowhere", tmp_path / "out")


def test_a_missing_package_is_named_with_its_extra(tmp_path, one_line_error, monkeypatch):
    write_slices(tmp_path / "source", NAME, volume())
    monkeypatch.setitem(sys.modules, "h5py", None)
    said = one_line_error("acdc-h5", tmp_path / "source", tmp_path / "out")
    assert said == (
        "error: importing acdc-h5 needs h5py; install it with: pip install 'scribble-search[medical]'\n"
    ) and not contents(tmp_path / "out")
