"""Folds of several classes: groups stay whole, sizes and shares of every class are alike."""

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.data.decoded_images import open_data
from trainable.data.folds import folds_of, make_class_folds
from trainable.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("SCRIBBLE_DATA") or REPOSITORY.parent / "shared" / "data" / "scribbles").parent
ACDC = SHARED / "acdc"


def sizes(folds):
    found = Counter(folds.assignment.values())
    return [found[fold] for fold in range(folds.count)]


def patients(seed, count=40, longest=12):
    """Shares of three classes, of which the last is rare, for slices of patients who differ."""
    rng = np.random.default_rng(seed)
    shares, groups = {}, {}
    for patient in range(count):
        typical = rng.gamma(2, (0.1, 0.04, 0.004))
        for number in range(int(rng.integers(1, longest + 1))):
            stem = f"p{patient}_{number}"
            shares[stem], groups[stem] = (typical * rng.random(3)).tolist(), f"p{patient}"
    return shares, groups


def spread(shares, assignment, count=5):
    """How much the folds differ in their sums of each class, relative to the mean."""
    sums = np.zeros((count, 3))
    for stem, fold in assignment.items():
        sums[fold] += shares[stem]
    return sums.std(axis=0) / sums.mean(axis=0)


@settings(max_examples=80)
@given(data=st.data(), count=st.integers(2, 7), classes=st.integers(1, 4), seed=st.integers(0, 99))
def test_groups_stay_whole_every_fold_has_images_and_none_has_a_group_more_than_its_part(data, count, classes, seed):
    members = data.draw(st.lists(st.integers(1, 12), min_size=count, max_size=30))
    share = st.one_of(st.just(0.0), st.floats(0, 1))
    shares, groups = {}, {}
    for group, size in enumerate(members):
        for number in range(size):
            shares[f"{group}_{number}"] = data.draw(st.lists(share, min_size=classes, max_size=classes))
            if size > 1 or group % 2:
                groups[f"{group}_{number}"] = f"g{group}"
    folds = make_class_folds(shares, count, seed, "h", groups)
    assert set(folds.assignment) == set(shares)
    for group in range(len(members)):
        assert len({fold for stem, fold in folds.assignment.items() if stem.split("_")[0] == str(group)}) == 1
    assert min(sizes(folds)) > 0
    equal_part = -(-len(shares) // count)
    assert max(sizes(folds)) <= equal_part + max(members) - 1
    if max(members) == 1:
        assert max(sizes(folds)) <= equal_part, "images that belong to no group are spread evenly"


@pytest.mark.parametrize("seed", range(5))
def test_no_fold_is_larger_than_its_part_by_more_than_half_of_the_largest_group(seed):
    shares, groups = patients(seed)
    folds = make_class_folds(shares, 5, seed, "h", groups)
    assert max(sizes(folds)) <= -(-len(shares) // 5) + (max(Counter(groups.values()).values()) - 1) // 2


def test_every_class_is_spread_more_evenly_than_at_random():
    """Also the rare class. Random assignments keep groups whole too, so that only the choice of folds differs."""
    ours, random = [], []
    for seed in range(20):
        shares, groups = patients(seed)
        ours.append(spread(shares, make_class_folds(shares, 5, seed, "h", groups).assignment))
        names = sorted(set(groups.values()))
        dealt = dict(zip(names, np.random.default_rng(seed).permutation(len(names)) % 5, strict=True))
        random.append(spread(shares, {stem: int(dealt[group]) for stem, group in groups.items()}))
    assert (np.mean(ours, axis=0) < np.mean(random, axis=0) / 3).all()


def test_the_same_seed_deals_the_same_and_another_one_differently():
    shares, groups = patients(0)
    one = make_class_folds(shares, 5, 1, "h", groups)
    assert one == make_class_folds(dict(reversed(shares.items())), 5, 1, "h", dict(reversed(groups.items())))
    assert one != make_class_folds(shares, 5, 2, "h", groups)


def test_too_few_groups_or_images_are_clear_errors():
    shares, groups = patients(0, count=3)
    with pytest.raises(UserError, match="the images form only 3 groups,"):
        make_class_folds(shares, 5, 0, "h", groups)
    with pytest.raises(UserError, match="the images form only 1 group,"):
        make_class_folds(shares, 2, 0, "h", dict.fromkeys(shares, "one"))
    with pytest.raises(UserError, match="only 2 labelled images"):
        make_class_folds({"a": [0.1], "b": [0.2]}, 3, 0, "h", {})
    with pytest.raises(UserError, match="at least 2"):
        make_class_folds(shares, 1, 0, "h", groups)


@pytest.fixture
def folder(class_folder, tmp_path):
    return shutil.copytree(class_folder, tmp_path / "data")


def volumes_in_one_fold(data, folds):
    of_volume = {}
    for stem, volume in data.volumes.items():
        of_volume.setdefault(volume, set()).add(folds.assignment[stem])
    return all(len(found) == 1 for found in of_volume.values())


def test_without_groups_a_volume_is_a_group(folder, tmp_path):
    (folder / "train/groups.csv").unlink()
    data = open_data(folder, cache=tmp_path / "cache")
    folds = folds_of(data, 3, 0)
    assert volumes_in_one_fold(data, folds) and sizes(folds) == [8, 8, 8]


def test_a_volume_in_two_groups_is_refused(folder, tmp_path):
    path = folder / "train/groups.csv"
    path.write_text(path.read_text().replace("volume003_01,volume003", "volume003_01,other"))
    data = open_data(folder, cache=tmp_path / "cache")
    with pytest.raises(UserError, match=r"groups\.csv: volume 'volume003' is in the groups 'volume003' and 'other'"):
        folds_of(data, 3, 0)


def test_a_volume_of_which_one_slice_is_in_no_group_is_refused(folder, tmp_path):
    path = folder / "train/groups.csv"
    path.write_text(path.read_text().replace("volume003_01,volume003\n", ""))
    data = open_data(folder, cache=tmp_path / "cache")
    with pytest.raises(UserError, match="volume 'volume003' is in the groups 'volume003' and 'volume003_01'"):
        folds_of(data, 3, 0)


def test_volumes_of_two_classes_stay_whole_too(folder, tmp_path):
    from trainable.data.synthetic.synthesize import synthesize

    folder = tmp_path / "two"
    synthesize(folder, images=12, test_images=0, width=64, height=64, seed=0, classes=2, volumes=6)
    (folder / "train/groups.csv").unlink()
    data = open_data(folder, cache=tmp_path / "cache")
    assert data.task.binary and volumes_in_one_fold(data, folds_of(data, 3, 0))


@pytest.mark.skipif(not ACDC.is_dir(), reason=f"no real data set of several classes at {ACDC}")
def test_patients_of_the_real_data_set_are_never_split_and_classes_are_alike(tmp_path):
    """Both frames of a patient are in one fold; the smallest size decodes fastest."""
    data = open_data(ACDC, (32, 32), cache=tmp_path / "cache")
    folds = folds_of(data, 5, 0)
    of_patient = {}
    for stem, fold in folds.assignment.items():
        of_patient.setdefault(stem.split("_")[0], set()).add(fold)
    assert all(len(found) == 1 for found in of_patient.values())
    assert volumes_in_one_fold(data, folds)
    assert max(sizes(folds)) - min(sizes(folds)) <= 0.1 * len(data.stems) / 5
    assert (spread(data.class_shares, folds.assignment) < 0.05).all()
