"""Files as their publishers distribute them, if they are on this machine."""

from __future__ import annotations

import h5py
import nibabel
import numpy as np
import pytest
from imported_data import CLASSES, RAW, pixels, table

pytestmark = pytest.mark.skipif(not RAW.is_dir(), reason="the samples are not on this machine")


def test_acdc_slices_and_the_rest_of_their_volume(tmp_path, run_import):
    code, said = run_import("acdc-h5", RAW / "acdc_h5", tmp_path / "out")
    assert code == 0 and "10 images of 1 volume, with scribbles and masks" in said
    split = tmp_path / "out/train"
    with h5py.File(RAW / "acdc_h5/ACDC_training_volumes/patient001_frame01.h5") as file:
        for k in range(10):
            stem = f"patient001_frame01_{k:02d}.png"
            assert np.array_equal(pixels(split / "ground_truth" / stem), file["label"][k])
            assert np.array_equal(pixels(split / "scribbles" / stem) == 255, file["scribble"][k] == 4)
            assert np.abs(pixels(split / "images" / stem) / 255 - file["image"][k]).max() < 0.002
    assert table(split / "groups.csv")[1] == ["patient001_frame01_00", "patient001"]


def test_mscmr_with_scribbles_alone_and_with_masks_alone(tmp_path, run_import):
    words = ("nifti", RAW / "mscmr_nifti", tmp_path / "out", "--classes", CLASSES, "--crop", "212x212")
    words = (*words, "--pixel-size", "1.36719")
    assert run_import(*words, "--images", "images/subject13_*")[0] == 0
    assert run_import(*words, "--images", "images/*1_DE.nii.gz", "--split", "val")[0] == 0
    train, val = tmp_path / "out/train", tmp_path / "out/val"
    assert {path.name for path in train.iterdir() if path.is_dir()} == {"images", "scribbles"}
    assert {path.name for path in val.iterdir() if path.is_dir()} == {"images", "ground_truth"}
    assert len(list((train / "images").iterdir())) == len(list((val / "images").iterdir())) == 15
    raw = np.asarray(nibabel.load(RAW / "mscmr_nifti/labels/subject1_DE_manual.nii.gz").dataobj)[:, :, 7]
    mask = pixels(val / "ground_truth/subject1_DE_07.png")
    assert mask.shape == (212, 212)
    scale = 0.76171875 / 1.36719
    for label in (1, 2, 3):
        assert (mask == label).sum() == pytest.approx((raw == label).sum() * scale**2, rel=0.03)
        x, y = (positions.mean() for positions in np.nonzero(raw == label))
        row, column = (positions.mean() for positions in np.nonzero(mask == label))
        expected = (106 + (x + 0.5 - 256) * scale, 106 + (y + 0.5 - 256) * scale)
        assert (column + 0.5, row + 0.5) == pytest.approx(expected, abs=1)


def test_images_with_and_without_scribbles_make_one_split(tmp_path, run_import):
    code, said = run_import("nifti", RAW / "mscmr_nifti", tmp_path / "out", "--classes", CLASSES)
    assert code == 0 and "1 of 2 files have no scribbles: subject1_DE.nii.gz" in said
    assert "1 of 2 files have no masks: subject13_DE.nii.gz" in said
