"""Data on a machine that does not see their folder."""

import errno
import io
import tarfile
from dataclasses import replace

import pytest

from trainable.data import shipment
from trainable.data.dataset import find_splits, open_split
from trainable.data.shipment import Shipment, parts_of
from trainable.errors import CacheFailed, UserError


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A machine with an empty cache."""
    shipment._holds.cache_clear()
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_the_files_come_once_in_parts_and_are_the_same(elsewhere, small_folder, small_folds, monkeypatch):
    monkeypatch.setattr(shipment, "PART", 20_000)
    parts, fetched = list(parts_of(open_split(small_folder))), []
    assert len(parts) > 1

    def fetch():
        fetched.append(1)
        return iter(parts)

    sent = Shipment(small_folds, elsewhere / "not here", "train", fetch)
    place = sent.place()
    assert place != small_folder and open_split(place).hash == small_folds.data_hash
    assert sent.place() == place and len(fetched) == 1
    shipment._holds.cache_clear()  # as another process of that machine
    assert sent.place() == place and len(fetched) == 1


def test_the_images_of_splits_for_pretraining_come_along_without_labels(elsewhere, small_folder, small_folds):
    plain = Shipment(small_folds, small_folder, "train")
    wanted = replace(plain, unlabelled=("test1",))

    def sent(shipment):
        parts = list(parts_of(*shipment.files()))
        return replace(shipment, folder=elsewhere / "not here", fetch=lambda: iter(parts)).place()

    assert set(find_splits(sent(plain))) == {"train"}
    splits = find_splits(sent(wanted))
    assert len(splits["test1"].images) == 3 and not splits["test1"].scribbles, "though the node has the training split"


def test_a_disk_that_is_full_while_the_data_arrive_is_a_problem_of_the_cache(
    elsewhere, small_folder, small_folds, monkeypatch
):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    sent = Shipment(small_folds, elsewhere / "not here", "train", lambda: parts_of(open_split(small_folder)))
    with pytest.raises(CacheFailed, match=r"cannot be written \(No space left on device\)"):
        sent.place()
    assert not [path for path in (elsewhere / "cache/data").iterdir() if path.is_dir()]


def test_nothing_is_fetched_if_the_folder_is_visible(elsewhere, small_folder, small_folds):
    assert Shipment(small_folds, small_folder, "train", lambda: pytest.fail("fetched")).place() == small_folder


def test_another_folder_under_the_same_path_is_not_taken_for_it(elsewhere, small_folder, small_folds):
    from trainable.data.synthetic.synthesize import synthesize

    synthesize(elsewhere / "data", images=4, test_images=0, width=96, height=80, seed=9)
    parts = list(parts_of(open_split(small_folder)))
    place = Shipment(small_folds, elsewhere / "data", "train", lambda: parts).place()
    assert open_split(place).hash == small_folds.data_hash


def test_what_is_not_what_was_launched_with_is_refused(elsewhere, small_folder, small_folds):
    parts = list(parts_of(open_split(small_folder)))[:1]
    with tarfile.open(fileobj=io.BytesIO(parts[0])) as archive:
        assert archive.getnames()
    with pytest.raises(UserError, match="differs from the data that the search was launched with"):
        Shipment(small_folds, elsewhere / "not here", "train", lambda: [_without_one(parts[0])]).place()


def _without_one(part):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(part)) as old, tarfile.open(fileobj=buffer, mode="w") as new:
        for member in old.getmembers()[1:]:
            new.addfile(member, old.extractfile(member))
    return buffer.getvalue()


def test_a_part_cannot_write_outside_the_cache(elsewhere, small_folds):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../escaped"), io.BytesIO())
    with pytest.raises(tarfile.OutsideDestinationError):
        Shipment(small_folds, elsewhere / "not here", "train", lambda: [buffer.getvalue()]).place()
    assert not list(elsewhere.rglob("escaped"))
