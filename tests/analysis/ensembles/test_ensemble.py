"""Ensembles: what they average, what they are made of, and that their file is enough."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from analysis.ensembles.assemble import assemble, build_ensemble
from analysis.ensembles.ensemble import Ensemble, FlipAveraged, load_ensemble, read_member, same_threshold
from search.runs.run_tables import read_run
from trainable.data.decoded_images import open_data
from trainable.data.packed_labels import unpack
from trainable.data.reading import read_image, read_scribble
from trainable.errors import UserError
from trainable.objectives.metrics import count, scores
from trainable.storage.checked_json import read_checked
from trainable.training.checkpoint import load_network

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def configs(small_run):
    return [path.name for path in sorted((small_run.folder / "configs").iterdir())]


@pytest.fixture(scope="module")
def members(small_run, configs):
    place = small_run.folder / "configs" / configs[0]
    return [read_member(configs[0], fold, place / f"fold_{fold}") for fold in range(3)]


@pytest.fixture(scope="module")
def pixels(small_data):
    stem = small_data.stems[0]
    image, scribble = read_image(small_data.split.images[stem]), read_scribble(small_data.split.scribbles[stem])
    return torch.from_numpy(np.dstack([image, scribble]))[None]


def probability(folder, data, index):
    """Of one fold's model as the fold loop computes it, from the cache of decoded images."""
    network, _, _ = load_network(folder / "best.pt")
    image = torch.from_numpy(np.array(data.images[index]))[None]
    scribble, _ = unpack(torch.from_numpy(np.array(data.labels[index]))[None])
    with torch.inference_mode():
        small = network(image, scribble).sigmoid()
    return F.interpolate(small, size=(80, 96), mode="bilinear", align_corners=False)[0, 0].numpy()


def test_the_ensemble_is_the_mean_of_its_members_maps(small_run, configs, members, pixels, small_folder, small_cache):
    place, data = small_run.folder / "configs" / configs[0], open_data(small_folder, cache=small_cache)
    expected = np.mean([probability(place / f"fold_{fold}", data, 0) for fold in range(3)], axis=0)
    with torch.inference_mode():
        found = Ensemble(members, 0.5, "none")(pixels)[0].numpy()
    assert found.shape == (80, 96)
    assert np.abs(found - expected).max() < 0.01, "only Pillow's rounding to bytes lies between them"


def test_one_member_scores_what_its_fold_scored(small_run, configs, members, small_data, small_folder):
    """The whole way from files to counts gives the out-of-fold score that training wrote down."""
    folder = small_run.folder / "configs" / configs[0] / "fold_1"
    told = json.loads((folder / "scores.json").read_text())["best"]["original"]
    held_out = json.loads((small_run.folder / "folds.json").read_text())
    stems = [stem for stem in small_data.stems if stem not in members[1].state["trained_on"]]
    alone, rows = Ensemble(members[1:2], 0.5, "none"), []
    from trainable.data.reading import read_mask

    for stem in stems:
        image, scribble = read_image(small_data.split.images[stem]), read_scribble(small_data.split.scribbles[stem])
        with torch.inference_mode():
            map_ = alone(torch.from_numpy(np.dstack([image, scribble]))[None])[0].numpy()
        rows.append(count(map_ > 0.5, read_mask(small_data.split.truth[stem]) > 0))
    assert scores(np.stack(rows))["miou"] == pytest.approx(told["miou"], abs=0.003)
    assert held_out


def test_flips_average_the_four_mirrorings(members, pixels):
    plain, flipped = Ensemble(members[:1], 0.5, "none"), Ensemble(members[:1], 0.5, "flips")
    size = members[0].size
    square = F.interpolate(pixels.permute(0, 3, 1, 2).float(), size=size[::-1], mode="nearest")
    square = square.permute(0, 2, 3, 1).to(torch.uint8)  # already of working size, so that mirroring is exact
    with torch.inference_mode():
        by_hand = [torch.flip(plain(torch.flip(square, axes)), axes) for axes in ((), (1,), (2,), (1, 2))]
        assert torch.allclose(flipped(square), torch.stack(by_hand).mean(0), atol=1e-5)
    assert not torch.allclose(by_hand[0], by_hand[1], atol=1e-3), "a network that mirrors exactly would prove nothing"


def test_an_unknown_kind_of_flips_writes_no_ensemble(small_run, configs, tmp_path):
    with pytest.raises(UserError, match="tta 'flip': allowed are none and flips"):
        build_ensemble(read_run(small_run), configs[0], tta="flip", out=tmp_path / "out")
    with pytest.raises(UserError, match="tta 'flip': allowed are none and flips"):
        FlipAveraged(torch.nn.Identity(), "flip")
    assert not (tmp_path / "out").exists()


def test_the_manifest_contains_config_folds_hashes_and_scores(small_run, configs, small_data, tmp_path):
    folder, document = assemble(small_run, configs, "flips", tmp_path / "both")
    assert read_checked(folder / "ensemble.json") == document
    assert set(document["configs"]) == set(configs) and len(document["members"]) == 6
    assert document["data_hash"] == small_data.hash and document["tta"] == "flips"
    assert sorted(document["trained_on"].values()) == sorted(small_data.stems), "each fold's images, all together"
    assert all(0 <= member["out_of_fold"]["miou"] <= 1 for member in document["members"])


def test_the_file_alone_predicts_the_same(small_run, configs, pixels, members, tmp_path):
    folder, _ = assemble(small_run, configs[:1], "none", tmp_path / "one")
    moved = (folder / "ensemble.pt").rename(tmp_path / "elsewhere.pt")
    with torch.inference_mode():
        assert torch.equal(load_ensemble(moved, CPU)(pixels), Ensemble(members, 0.5, "none")(pixels))


def test_a_config_that_lacks_a_fold_is_refused_with_the_command_that_trains_it(small_run, configs, tmp_path):
    best = small_run.folder / "configs" / configs[1] / "fold_2/best.pt"
    hidden = best.rename(tmp_path / "best.pt")
    try:
        with pytest.raises(UserError, match=r"no finished model of fold_2; .*all 3 folds: python -m search finish"):
            assemble(small_run, configs[1:], "none", tmp_path / "out")
    finally:
        hidden.rename(best)
    assert not (tmp_path / "out").exists()


def test_wrong_files_are_refused_in_words(small_run, configs, tmp_path):
    single = small_run.folder / "configs" / configs[0] / "fold_0/best.pt"
    with pytest.raises(UserError, match="is a single fold's checkpoint"):
        load_ensemble(single, CPU)
    with pytest.raises(UserError, match="no such ensemble"):
        load_ensemble(tmp_path, CPU)
    (tmp_path / "ensemble.pt").write_bytes(single.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"damaged.*rebuilds it"):
        load_ensemble(tmp_path, CPU)
    with pytest.raises(UserError, match="no such config"):
        assemble(small_run, ["nothing"], "none", None)


def test_members_that_disagree_on_the_threshold_are_no_ensemble(members):
    other = members[1].state | {"config": members[1].state["config"] | {"tau": 0.4}}
    changed = type(members[1])("other", 1, members[1].size, other)
    with pytest.raises(UserError, match=r"different thresholds tau .*0\.5.*other has 0\.4"):
        same_threshold([members[0], changed])
