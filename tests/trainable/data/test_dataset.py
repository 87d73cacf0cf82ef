import numpy as np
import pytest
from PIL import Image

from trainable.data.dataset import find_splits, open_split, working_size
from trainable.errors import UserError


def write(path, values, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8), mode).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    for stem in ("a", "b"):
        write(tmp_path / "train/images" / f"{stem}.png", np.zeros((40, 50, 3)))
        write(tmp_path / "train/scribbles" / f"{stem}.png", np.full((40, 50), 255))
        write(tmp_path / "train/ground_truth" / f"{stem}.png", np.zeros((40, 50)))
    write(tmp_path / "test1/images/c.jpg", np.zeros((40, 50, 3)))
    write(tmp_path / "test1/scribbles/c.png", np.full((40, 50), 255))
    return tmp_path


def test_splits_are_found_and_know_whether_they_are_labelled(folder):
    splits = find_splits(folder)
    assert {name: (split.stems, split.labelled) for name, split in splits.items()} == {
        "train": (["a", "b"], True),
        "test1": (["c"], False),
    }


def test_files_are_matched_by_stem_with_any_suffix(folder):
    (folder / "train/images/a.png").unlink()
    write(folder / "train/images/a.JPEG", np.zeros((40, 50, 3)))
    split = open_split(folder)
    assert split.stems == ["a", "b"] and split.images["a"].name == "a.JPEG"


def test_hidden_and_foreign_files_are_passed_over(folder):
    (folder / "train/images/.hidden.png").write_bytes(b"")
    (folder / "train/images/Thumbs.db").write_bytes(b"")
    assert open_split(folder).stems == ["a", "b"]


def test_a_missing_partner_is_an_error_that_names_the_file_and_the_folder(folder):
    (folder / "train/ground_truth/b.png").unlink()
    with pytest.raises(UserError, match=r"images/b\.png: has no partner b\.\* in ground_truth"):
        open_split(folder)


def test_a_mask_without_an_image_is_a_missing_partner_too(folder):
    write(folder / "train/ground_truth/z.png", np.zeros((40, 50)))
    with pytest.raises(UserError, match=r"ground_truth/z\.png: has no partner z\.\* in images and in scribbles"):
        open_split(folder)


def test_a_partner_that_differs_in_case_is_named(folder):
    for part in ("scribbles", "ground_truth"):
        (folder / f"train/{part}/a.png").rename(folder / f"train/{part}/A.PNG")
    with pytest.raises(UserError, match=r"has no partner A\.\* in images; a\.(png|jpg) differs in case"):
        open_split(folder)


def test_two_files_of_one_stem_are_an_error(folder):
    write(folder / "train/images/a.jpg", np.zeros((40, 50, 3)))
    with pytest.raises(UserError, match=r"a\.png: shares its stem"):
        open_split(folder)


@pytest.mark.parametrize(
    ("path", "split", "message"),
    [
        ("nowhere", "train", "no such folder"),
        ("train/images", "train", "contains no split"),
        ("train", "train", "looks like a split itself"),
        ("", "trian", "Did you mean 'train'"),
    ],
)
def test_a_wrong_folder_or_split_is_reported_with_what_is_expected(folder, path, split, message):
    with pytest.raises(UserError, match=message):
        open_split(folder / path, split)


def test_an_empty_split_is_an_error(folder):
    for path in (folder / "train/images").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"train/images: contains no image"):
        open_split(folder)


def test_the_hash_changes_with_any_byte_name_or_folder(folder):
    before = open_split(folder).hash
    assert open_split(folder).hash == before
    write(folder / "train/scribbles/a.png", np.zeros((40, 50)))
    changed = open_split(folder).hash
    assert changed != before
    for part in ("images", "scribbles", "ground_truth"):
        (folder / f"train/{part}/b.png").rename(folder / f"train/{part}/renamed.png")
    assert open_split(folder).hash not in (before, changed)


def test_the_hash_does_not_depend_on_other_splits(folder):
    before = open_split(folder).hash
    (folder / "test1/images/c.jpg").unlink()
    assert open_split(folder).hash == before


def test_the_working_size_is_the_largest_multiple_of_32_below_the_most_common_size():
    assert working_size([(500, 375)] * 3 + [(640, 480)], 32) == (480, 352)
    assert working_size([(64, 32)], 32) == (64, 32)
    with pytest.raises(UserError, match="smaller than 32x32"):
        working_size([(500, 31)], 32)


def test_of_equally_common_sizes_the_median_is_used():
    sizes = [(97, 143), (640, 480), (200, 300)]
    assert working_size(sizes, 32) == working_size(sizes[::-1], 32) == (192, 288)
