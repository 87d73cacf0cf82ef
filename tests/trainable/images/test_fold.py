"""The loop over a fold's images: reports, resuming anywhere, masks that only score, and what is refused."""

import itertools
import json
import shutil
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from fold_models_run import write_fold_models
from PIL import Image

from trainable.config import make_image_config
from trainable.data.folds import Folds, folds_of
from trainable.data.image_files import open_files
from trainable.data.reading import read_mask
from trainable.errors import FoldFailed, UserError
from trainable.images import fold as loop
from trainable.images import segmenter
from trainable.images.methods.nearest import Nearest
from trainable.images.pretrained.fold_models import open_fold_models
from trainable.images.registry import METHODS
from trainable.images.results import read_results, stored_masks
from trainable.objectives.metrics import count, scores
from trainable.printing import digits


@pytest.fixture(scope="module")
def models(folds, tmp_path_factory):
    return str(write_fold_models(tmp_path_factory.mktemp("runs") / "models", folds))


@pytest.fixture
def segment(files, folds, tmp_path):
    def run(name="fold", values=None, at=files, **more):
        config = make_image_config({"method": "nearest", "steps": 10, "evaluations": 5, **(values or {})})
        return loop.segment_fold(config, at, folds, 1, tmp_path / name, device="cpu", **more)

    return run


class Pairs(Nearest):
    """Two images at once, and a record of what was segmented with what."""

    calls: ClassVar[list] = []

    def __init__(self, config, network):
        super().__init__(config)

    def batch(self, device):
        return 2

    def segment(self, images, classes, device):
        self.calls.append([image.seed for image in images])
        return super().segment(images, classes, device)


@pytest.fixture
def pairs(monkeypatch):
    monkeypatch.setattr(segmenter, "build_method", Pairs)
    monkeypatch.setattr(Pairs, "calls", [])
    return Pairs.calls


def contents(folder):
    """What a fold leaves, apart from times."""
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    reports = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for each in [*lines, *reports]:
        del each["seconds"], each["sum"]
    return lines, reports, (folder / "scores.json").read_text(), (folder / "images.parquet").read_bytes()


def test_lost_tables_of_a_finished_fold_are_written_again(segment, tmp_path):
    list(segment(gpus=0.25))
    assert {line["gpus"] for line in contents(tmp_path / "fold")[1]} == {0.25}
    tables = [tmp_path / "fold" / name for name in ("images.parquet", "scores.json")]
    before = [path.read_bytes() for path in tables]
    for path in tables:
        path.unlink()
    list(segment())
    assert [path.read_bytes() for path in tables] == before


def test_a_report_covers_its_part_of_the_images_and_the_last_one_all(segment, files, folds, tmp_path):
    reports = list(segment())
    held_out = folds.held_out(1)
    assert [(each.step, each.images) for each in reports] == [(2, 1), (4, 2), (6, 3), (8, 4), (10, 5)]
    assert [each.finished for each in reports] == [False] * 4 + [True]
    masks = stored_masks(tmp_path / "fold", held_out)
    counts = [count(masks[stem], read_mask(files.split.truth[stem])) for stem in held_out]
    assert reports[-1].scores == scores(np.stack(counts)) and len(held_out) == 5
    table = pd.read_parquet(tmp_path / "fold/images.parquet")
    assert sorted(table[(table["weights"] == "last") & (table["size"] == "working")]["stem"]) == held_out
    assert json.loads((tmp_path / "fold/scores.json").read_text())["best"]["original"] == reports[-1].scores


def test_the_order_is_random_but_the_same_for_every_config(segment, tmp_path, folds):
    for name, values in (("a", {}), ("b", {"seed": 7, "method": "random_walker"})):
        list(segment(name, values))
    orders = [[line["stem"] for line in contents(tmp_path / name)[0]] for name in "ab"]
    assert orders[0] == orders[1] != folds.held_out(1)


@pytest.mark.parametrize("stop", range(1, 6))
def test_a_fold_that_is_interrupted_after_any_image_ends_with_the_same_bytes(segment, pairs, tmp_path, stop):
    list(segment("whole"))
    whole = pairs.copy()
    calls = itertools.count(1)
    list(segment(keep_going=lambda step: next(calls) < stop))
    # Killed within a batch: one result of it is stored, the next one is torn.
    path = tmp_path / "fold/results.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: stop - 1]) + lines[min(stop, len(lines)) - 1][:40])
    list(segment())
    assert contents(tmp_path / "fold") == contents(tmp_path / "whole")
    assert all(call in whole for call in pairs), "images were grouped differently"


def test_a_resumed_fold_repeats_its_last_report_and_segments_nothing_twice(segment, pairs):
    first = list(segment(until=5))
    assert [each.step for each in first] == [2, 4]
    done = len(pairs)
    again = list(segment())
    assert [each.step for each in again] == [4, 6, 8, 10] and again[0] == first[-1]
    assert len(pairs) == 3 and done == 1
    assert [each.step for each in segment()] == [10] and len(pairs) == 3, "nothing is left to do"


def test_until_may_lie_between_reports(segment, pairs, tmp_path):
    for until, steps, batches in ((3, [], 1), (7, [5], 2), (8, [5], 2), (99, [5, 10], 3)):
        assert [each.step for each in segment(values={"evaluations": 2}, until=until)] == steps
        assert len(pairs) == batches, "two images at once of five: two at step 3, four at step 7"
    list(segment("whole", {"evaluations": 2}))
    assert contents(tmp_path / "fold") == contents(tmp_path / "whole")


def test_a_generator_that_is_closed_resumes_as_well(segment, pairs):
    reports = segment()
    next(reports)
    reports.close()
    assert [each.step for each in segment()] == [2, 4, 6, 8, 10] and len(pairs) == 3


FEATURES = {"features": "fold", "inputs": "colour+features", "features_channels": 3, "iterations": 2}
VALUES = {
    "colour_distributions": {"features": "fold", "features_channels": 3},
    "pixelwise": FEATURES,
    "cnn": FEATURES,
    "unet": FEATURES,
    "finetune": {"features": "fold", "tuning_steps": 2, "tuning_rate": 1e-2},
    "sam": {"sam_size": "tiny"},
}


@pytest.mark.parametrize("method", METHODS)
def test_masks_are_read_to_score_and_for_nothing_else(segment, small_folder, tmp_path, folds, method, models):
    noisy = tmp_path / "noisy"
    shutil.copytree(small_folder, noisy)
    rng = np.random.default_rng(0)
    for path in (noisy / "train/ground_truth").iterdir():
        Image.fromarray(rng.integers(0, 2, (80, 96)).astype(np.uint8)).save(path)
    values = {"method": method} | VALUES.get(method, {})
    weights = open_fold_models(models).named() if "features" in values else None
    values |= {"features_from": models} if weights else {}
    ours = list(segment("a", values, weights=weights))
    theirs = list(segment("b", values, open_files(noisy), weights=weights))
    masks = [stored_masks(tmp_path / name, folds.held_out(1)) for name in "ab"]
    for stem in folds.held_out(1):
        assert masks[0][stem].tobytes() == masks[1][stem].tobytes()
    assert ours[-1].scores != theirs[-1].scores, "the noise was not scored with"


def test_images_of_any_size_are_segmented_alone_if_they_are_large(monkeypatch, pairs):
    method = segmenter.Segmenter(make_image_config({}), 2, None)
    small, large = (500, 375), (4000, 3000)
    assert list(method.batches([small, small, small])) == [range(2), range(2, 3)]
    assert list(method.batches([small, large, small, large])) == [range(2), range(2, 4)]
    assert list(method.batches([large, large, small])) == [range(1), range(1, 3)]
    assert list(method.batches([])) == []


def test_a_batch_is_one_image_where_several_at_once_save_nothing():
    for method, device, batches in (
        ("nearest", "cpu", 40),
        ("colour_distributions", "cpu", 40),
        ("colour_distributions", "cuda", 2),
        ("pixelwise", "cpu", 3),
    ):
        found = segmenter.Segmenter(make_image_config({"method": method}), 2, torch.device(device))
        assert len(list(found.batches([(500, 375)] * 40))) == batches


def test_a_working_size_is_segmented_at_and_scored_at_the_original_one(segment, files, folds, tmp_path, monkeypatch):
    seen = []
    asked = Nearest.segment
    monkeypatch.setattr(
        Nearest, "segment", lambda self, images, *rest: seen.extend(images) or asked(self, images, *rest)
    )
    list(segment(values={"size": "48x40"}))
    assert {image.image.shape for image in seen} == {(40, 48, 3)}
    (mask, *_) = stored_masks(tmp_path / "fold", folds.held_out(1)).values()
    assert mask.shape == (80, 96)


def test_equal_images_have_equal_seeds_and_others_do_not(files):
    image, scribble = files.read(files.stems[0])
    other = files.read(files.stems[1])
    assert segmenter.seed_of(0, image, scribble) == segmenter.seed_of(0, image.copy(), scribble.copy())
    assert len({segmenter.seed_of(*each) for each in [(0, image, scribble), (1, image, scribble), (0, *other)]}) == 3


def test_probabilities_are_kept_on_request(segment, folds, tmp_path):
    list(segment(keep_probabilities=True))
    for stem in folds.held_out(1):
        kept = np.load(tmp_path / f"fold/probabilities/{stem}.npy")
        assert kept.dtype == np.float16 and kept.shape == (80, 96)
    list(segment("without", until=4))
    with pytest.raises(UserError, match="without their probabilities"):
        list(segment("without", keep_probabilities=True))


def test_the_folder_of_another_fold_trial_is_refused(segment, tmp_path):
    list(segment(until=2))
    with pytest.raises(UserError, match=r"of another fold trial: seed = 0, not 1\. Choose another folder"):
        list(segment(values={"seed": 1}))
    (tmp_path / "fold/results.jsonl").write_text("{}\n")
    assert list(segment())[-1].finished, "from the first image on"


class Broken(Nearest):
    def __init__(self, config, network):
        super().__init__(config)

    def batch(self, device):
        return 2

    def segment(self, images, classes, device):
        if self.problem is None:
            return [np.full((classes, *each.scribble.shape), np.nan, np.float32) for each in images]
        raise self.problem


@pytest.mark.parametrize(
    ("problem", "reason"),
    [(None, "nan"), (MemoryError(), "out_of_memory"), (RuntimeError("CUDA out of memory"), "out_of_memory")],
)
def test_a_method_that_fails_says_why(segment, monkeypatch, tmp_path, problem, reason):
    monkeypatch.setattr(Broken, "problem", problem, raising=False)
    monkeypatch.setattr(segmenter, "build_method", Broken)
    with pytest.raises(FoldFailed) as failure:
        list(segment())
    assert failure.value.reason == reason
    assert json.loads((tmp_path / "fold/error.json").read_text())["reason"] == reason


def test_slices_are_scored_by_volume_and_images_without_scribbles_count(class_folder, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(class_folder, folder)
    files = open_files(folder)
    folds = folds_of(files, 3, 0)
    files.split.scribbles[folds.held_out(0)[0]].unlink()
    files = open_files(folder)
    config = make_image_config({"method": "random_walker", "evaluations": 2})
    *_, last = loop.segment_fold(config, files, folds, 0, tmp_path / "fold", metric="dice_volume", device="cpu")
    assert last.images == 8 and 0.2 < last.scores["dice_volume"] < 1
    assert "volume" in pd.read_parquet(tmp_path / "fold/images.parquet")
    log = (tmp_path / "fold/log.txt").read_text()
    assert f"8 images, dice_volume {digits(last.scores['dice_volume'])}" in log and "miou" not in log


def test_data_without_scribbles_or_masks_are_refused_in_one_line(segment, small_folder, tmp_path):
    for name, problem in (("scribbles", "has no scribbles/"), ("ground_truth", "has no ground_truth/ to score with")):
        folder = tmp_path / f"without_{name}"
        shutil.copytree(small_folder, folder)
        shutil.rmtree(folder / "train" / name)
        (folder / "dataset.yaml").write_text("classes: [background, foreground]\n")
        with pytest.raises(UserError, match=problem):
            list(segment(at=open_files(folder)))


def test_folds_are_those_of_networks_on_the_same_data(files, small_data, class_folder, class_data):
    assert folds_of(files, 4, 0) == folds_of(small_data, 4, 0)
    assert folds_of(open_files(class_folder), 3, 1) == folds_of(class_data, 3, 1)


def test_results_of_other_images_are_refused(segment, files, folds, tmp_path):
    list(segment(until=4))
    with pytest.raises(UserError, match="holds other images than this fold"):
        read_results(tmp_path / "fold", folds.held_out(2))
    assert isinstance(folds, Folds) and len(read_results(tmp_path / "fold", loop.image_order(files, folds, 1))) == 2


def test_the_order_of_images_depends_on_the_seed_of_the_folds_and_on_the_fold(files, folds):
    order = loop.image_order(files, folds, 1)
    assert sorted(order) == sorted(folds.held_out(1)) and order == loop.image_order(files, folds, 1)
    others = [loop.image_order(files, replace(folds, seed=seed), 1) for seed in range(1, 5)]
    assert any(other != order for other in others), "every seed gives the same order"
