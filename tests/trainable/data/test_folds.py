import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.data.folds import load_folds, make_folds, read_groups, save_folds
from trainable.errors import UserError

SHARES = {f"img{k:03d}": (k * 37 % 100) / 100 for k in range(53)}


@given(
    shares=st.dictionaries(st.text("abcxyz", min_size=1, max_size=6), st.floats(0, 1), min_size=2, max_size=80),
    count=st.integers(2, 10),
    seed=st.integers(0, 1000),
)
def test_folds_are_disjoint_cover_everything_and_differ_by_one_image_at_most(shares, count, seed):
    if len(shares) < count:
        with pytest.raises(UserError, match="only"):
            make_folds(shares, count, seed, "hash")
        return
    folds = make_folds(shares, count, seed, "hash")
    held_out = [folds.held_out(fold) for fold in range(count)]
    assert sorted(stem for part in held_out for stem in part) == sorted(shares)
    sizes = [len(part) for part in held_out]
    assert max(sizes) - min(sizes) <= 1
    for fold, part in enumerate(held_out):
        assert sorted([*part, *folds.training(fold)]) == sorted(shares)


def test_folds_have_similar_foreground_shares():
    rng = np.random.default_rng(0)
    shares = {f"img{k}": float(share) for k, share in enumerate(rng.beta(1, 4, 200))}
    means = [np.mean([shares[s] for s in make_folds(shares, 5, 3, "h").held_out(fold)]) for fold in range(5)]
    dealt_blindly = [np.mean(part) for part in np.array_split(rng.permutation(list(shares.values())), 5)]
    assert np.std(means) < np.std(dealt_blindly) / 3


def test_the_same_seed_deals_the_same_and_another_one_differently():
    assert make_folds(SHARES, 5, 1, "h") == make_folds(dict(reversed(SHARES.items())), 5, 1, "h")
    assert make_folds(SHARES, 5, 1, "h") != make_folds(SHARES, 5, 2, "h")


@given(st.lists(st.integers(0, 9), min_size=30, max_size=53), st.integers(2, 5), st.integers(0, 99))
def test_a_group_is_never_split(numbers, count, seed):
    groups = {stem: f"g{number}" for stem, number in zip(SHARES, numbers, strict=False)}
    folds = make_folds(SHARES, count, seed, "h", groups)
    for group in set(groups.values()):
        assert len({folds.assignment[stem] for stem, of in groups.items() if of == group}) == 1
    assert set(folds.assignment) == set(SHARES) and set(folds.assignment.values()) == set(range(count))


def test_groups_still_give_folds_of_like_size():
    groups = {stem: f"patient{k // 3}" for k, stem in enumerate(SHARES)}
    sizes = Counter(make_folds(SHARES, 5, 0, "h", groups).assignment.values())
    assert max(sizes.values()) - min(sizes.values()) <= 3


def test_too_few_groups_is_a_clear_error():
    with pytest.raises(UserError, match="the images form only 2 groups,"):
        make_folds(SHARES, 5, 0, "h", {stem: str(k % 2) for k, stem in enumerate(SHARES)})


@pytest.mark.parametrize("count", [1, 0, -3])
def test_fewer_than_two_folds_are_refused(count):
    with pytest.raises(UserError, match="at least 2"):
        make_folds(SHARES, count, 0, "h")


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_that_does_not_exist_is_refused(fold):
    with pytest.raises(UserError, match="there are 5 folds, 0 to 4"):
        make_folds(SHARES, 5, 0, "h").held_out(fold)


def test_folds_come_back_from_their_file(tmp_path):
    folds = make_folds(SHARES, 5, 7, "the hash")
    save_folds(folds, tmp_path / "folds.json")
    assert load_folds(tmp_path / "folds.json", "the hash") == folds
    assert load_folds(tmp_path / "folds.json").hash == folds.hash
    assert "groups" not in (tmp_path / "folds.json").read_text()
    grouped = make_folds(SHARES, 5, 7, "the hash", {stem: f"g{number // 2}" for number, stem in enumerate(SHARES)})
    save_folds(grouped, tmp_path / "folds.json")
    assert load_folds(tmp_path / "folds.json") == grouped and grouped.groups


def test_folds_of_other_data_are_refused(tmp_path):
    save_folds(make_folds(SHARES, 5, 7, "theirs"), tmp_path / "folds.json")
    with pytest.raises(UserError, match="other data"):
        load_folds(tmp_path / "folds.json", "ours")


@pytest.mark.parametrize(
    "change",
    [
        {"version": 99},
        {"assignment": {"a": 0}},
        {"assignment": ["a"]},
        {"folds": "many"},
        {"seed": None},
        {"groups": 1},
    ],
)
def test_a_broken_folds_file_is_refused_by_name(tmp_path, change):
    path = tmp_path / "folds.json"
    save_folds(make_folds(SHARES, 5, 7, "h"), path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=r"folds\.json"):
        load_folds(path)


def test_groups_are_read_and_images_without_one_stand_alone(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text("stem,group\na,1\nb,1\nc,2\n")
    assert read_groups(path, ["a", "b", "c", "d"]) == {"a": "1", "b": "1", "c": "2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stem;group\na;1\n", "needs the columns stem and group"),
        ("stem,group\nimg1,1\n", "line 2: no image has the stem 'img1'. Did you mean 'img01'"),
        ("stem,group\nimg01,\n", "line 2: stem and group must both be given"),
        ("stem,group\nimg01,1\nimg01,2\n", "line 3: 'img01' is in two groups"),
    ],
)
def test_mistakes_in_groups_are_reported_with_their_line(tmp_path, text, message):
    path = tmp_path / "groups.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_groups(path, ["img01", "img02"])
    assert message in str(error.value) and str(path) in str(error.value)
