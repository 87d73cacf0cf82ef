import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small_config

from trainable.data.decoded_images import open_data
from trainable.data.folds import make_folds
from trainable.data.reading import read_mask
from trainable.errors import FoldFailed, UserError
from trainable.objectives.metrics import METRICS, count, from_columns, scores
from trainable.storage.checked_json import read_lines
from trainable.training import checkpoint, trial
from trainable.training.fold import train_fold

pytestmark = pytest.mark.usefixtures("narrow_decoders")


@pytest.fixture
def train(small_data, small_folds, tmp_path):
    """Train in ``tmp_path/out``; the reports come back as a list."""

    def run(config=None, fold=0, folder=None, data=small_data, folds=small_folds, **options):
        config = config or small_config()
        return list(train_fold(config, data, folds, fold, folder or tmp_path / "out", **options))

    return run


@pytest.fixture
def scored(monkeypatch):
    """Gives the evaluations that come, one after the other, scores that are written down here."""

    def script(**curves):
        told = iter([dict(zip(curves, values, strict=True)) for values in zip(*curves.values(), strict=True)])
        real = trial.scores
        monkeypatch.setattr(trial, "scores", lambda *given: real(*given) | next(told))

    return script


def test_a_fold_reports_at_even_steps_with_every_metric(train):
    reports = train()
    assert [report.step for report in reports] == [2, 4, 6, 8]
    assert [report.finished for report in reports] == [False, False, False, True]
    for report in reports:
        assert set(report.scores) == set(METRICS) and all(0 <= value <= 1 for value in report.scores.values())
        assert math.isfinite(report.loss) and math.isfinite(report.validation_loss)
    assert reports[0].epoch == pytest.approx(2 * 4 / 15)
    assert reports[-1].learning_rate == pytest.approx(1e-7)
    seconds = [report.seconds for report in reports]
    assert seconds == sorted(seconds) and seconds[0] > 0


def test_reports_stand_in_the_folder_as_they_were_yielded(train, tmp_path):
    reports = train(gpus=0.25)
    lines = read_lines(tmp_path / "out/metrics.jsonl")
    assert lines == [report.as_dict() for report in reports] and {line["gpus"] for line in lines} == {0.25}
    assert train(gpus=0.5) == reports[-1:] and read_lines(tmp_path / "out/metrics.jsonl") == lines
    log = (tmp_path / "out/log.txt").read_text()
    assert "step 8" in log and "finished" in log


def test_training_learns(train):
    """By margins that no processor's rounding decides."""
    quick = {"encoder": "test_resnet", "learning_rate": 3e-3, "ema": 0.9, "augmentation": "none"}
    first, *_, last = train(small_config(steps=60, evaluations=3, **quick))
    assert last.loss < first.loss - 0.2
    assert last.scores["miou"] > first.scores["miou"] + 0.05


def test_results_of_the_held_out_images_are_kept_for_best_and_last_at_both_sizes(train, tmp_path, small_folds):
    reports = train()
    table = pd.read_parquet(tmp_path / "out/images.parquet")
    assert set(table.groupby(["weights", "size"]).groups) == {
        (weights, size) for weights in ("best", "last") for size in ("working", "original")
    }
    summary = json.loads((tmp_path / "out/scores.json").read_text())
    for (weights, size), rows in table.groupby(["weights", "size"]):
        assert sorted(rows["stem"]) == small_folds.held_out(0)
        counts = from_columns(rows, 2)
        assert (counts.sum(axis=(1, 2)) == (64 * 32 if size == "working" else 96 * 80)).all()
        assert scores(counts) == pytest.approx(summary[weights][size])
    assert summary["last"]["working"] == pytest.approx(reports[-1].scores)
    best = max(reports, key=lambda report: report.scores["miou"])
    assert summary["best"]["step"] == best.step
    assert summary["best"]["working"] == pytest.approx(best.scores)


def test_kept_probabilities_give_the_original_scores(train, tmp_path, small_folds, small_folder):
    train(keep_probabilities=True)
    rows = []
    for stem in small_folds.held_out(0):
        probability = np.load(tmp_path / f"out/probabilities/{stem}.npy")
        truth = read_mask(small_folder / f"train/ground_truth/{stem}.png")
        assert probability.shape == truth.shape and probability.dtype == np.float16
        rows.append(count(probability > 0.5, truth > 0))
    summary = json.loads((tmp_path / "out/scores.json").read_text())
    assert scores(np.stack(rows)) == pytest.approx(summary["best"]["original"], abs=1e-3)


def test_best_weights_alone_rebuild_the_network_and_its_score(train, tmp_path, small_data, small_folds):
    from contextlib import nullcontext

    from trainable.training.evaluate import evaluate

    train(small_config(encoder="resnet18", steps=2, evaluations=2))
    network, config, state = checkpoint.load_network(tmp_path / "out/best.pt")
    held_out = small_data.indices(small_folds.held_out(0))
    result = evaluate(network, small_data, held_out, config, torch.device("cpu"), nullcontext)
    assert scores(result.counts)["miou"] == state["score"]
    assert state["trained_on"] == small_folds.training(0)
    mean, std = small_data.statistics(small_data.indices(small_folds.training(0)))
    assert network.mean.tolist() == pytest.approx(mean) and network.std.tolist() == pytest.approx(std)


def test_the_loop_stops_early_when_the_score_no_longer_rises(train, scored):
    scored(miou=[0.4, *[0.5] * 79])
    reports = train(small_config(steps=400, evaluations=80, patience=2))
    # 4 of 15 images a step: the score rises last at step 10, and of the following, step 20 is over 2 epochs later.
    assert reports[-1].finished and reports[-1].step == 20


def test_the_best_weights_are_selected_by_the_given_metric(train, tmp_path, scored):
    scored(miou=[0.5, 0.4, 0.3, 0.2], dice=[0.1, 0.2, 0.4, 0.3])
    train(metric="dice", until=4)
    train(metric="dice")
    state = checkpoint.load(tmp_path / "out/best.pt")
    assert (state["step"], state["score"], state["metric"]) == (6, 0.4, "dice")
    assert "best 0.4000 at step 6" in (tmp_path / "out/log.txt").read_text()


def test_patience_uses_the_given_metric(train, tmp_path, scored):
    impatient = small_config(steps=12, evaluations=6, patience=1)  # an epoch is four steps, or almost
    scored(miou=[k / 9 for k in range(9)], dice=[0.5] * 9)
    assert train(impatient, metric="dice")[-1].step == 6
    assert train(impatient, metric="miou", folder=tmp_path / "other")[-1].step == 12


def test_patience_zero_never_stops_early(train):
    config = small_config(steps=12, evaluations=12, patience=0, learning_rate=1e-12, final_learning_rate=0)
    assert train(config)[-1].step == 12


def test_a_fold_pauses_at_a_step_and_resumes(train, tmp_path):
    whole = train(folder=tmp_path / "whole")
    first = train(until=4)
    assert [report.step for report in first] == [2, 4] and not first[-1].finished
    second = train()
    assert [report.step for report in second] == [4, 6, 8], "the last report comes again, then the new ones"
    assert [r.scores for r in first + second[1:]] == [r.scores for r in whole]


def test_a_finished_fold_only_repeats_its_last_report(train, tmp_path):
    last = train()[-1]
    files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.pt")}
    assert train() == [last]
    assert files == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.pt")}
    assert "previous.pt" not in files


def test_a_caller_that_stops_listening_loses_nothing(small_data, small_folds, tmp_path, train):
    generator = train_fold(small_config(), small_data, small_folds, 0, tmp_path / "out")
    first = next(generator)
    generator.close()
    assert train()[0] == first


def test_keep_going_is_called_after_every_step(train):
    asked = []
    assert [r.step for r in train(keep_going=lambda step: asked.append(step) or step < 3)] == [2]
    assert asked == [1, 2, 3]
    assert [r.step for r in train()] == [2, 4, 6, 8]


def test_a_nan_loss_ends_the_fold_with_its_step(train, tmp_path, monkeypatch):
    real = trial.training_loss
    calls = []

    def poisoned(logits, *rest):
        loss = real(logits, *rest)
        if logits.requires_grad:
            calls.append(1)
        return loss * math.nan if len(calls) == 3 and logits.requires_grad else loss

    monkeypatch.setattr(trial, "training_loss", poisoned)
    with pytest.raises(FoldFailed, match="the training loss is nan at step 3") as failure:
        train()
    assert (failure.value.reason, failure.value.step) == ("nan", 3)
    written = json.loads((tmp_path / "out/error.json").read_text())
    assert written == {"reason": "nan", "step": 3, "message": failure.value.message}


def test_a_learning_rate_that_explodes_ends_in_a_reason_not_a_traceback(train):
    with pytest.raises(FoldFailed) as failure:
        train(small_config(learning_rate=1e30, gradient_clip=0, steps=40, evaluations=2))
    assert failure.value.reason == "nan"


def test_a_later_success_clears_the_record_of_a_failure(train, tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("error.json", "error.txt"):
        (tmp_path / "out" / name).write_text("{}")
    train()
    assert not list((tmp_path / "out").glob("error.*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"pc": 1}}, r"last\.pt: belongs to another fold trial: pc = 3\.0, not 1\.0"),
        ({"fold": 1}, "fold 0, not 1"),
        ({"fold_seed": 9}, "other folds of the same data"),
        ({"metric": "dice"}, "goes by miou, not dice"),
        ({"size": (32, 64)}, "images at 64x32, not 32x64"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_and_left_alone(train, tmp_path, small_data, change, message):
    train(until=2)
    before = (tmp_path / "out/last.pt").read_bytes()
    folds = make_folds(small_data.foreground_shares, 4, seed=change.get("fold_seed", 0), data_hash=small_data.hash)
    with pytest.raises(UserError, match=message):
        config, metric = small_config(**change.get("config", {})), change.get("metric", "miou")
        data = open_data(small_data.split.root.parent, change["size"]) if "size" in change else small_data
        train(config, fold=change.get("fold", 0), folds=folds, metric=metric, data=data)
    assert (tmp_path / "out/last.pt").read_bytes() == before


def test_a_checkpoint_without_a_metric_resumes_by_miou(train, tmp_path, scored):
    scored(miou=[0.5, 0.6, 0.3, 0.2], dice=[0.1, 0.2, 0.4, 0.3])
    train(until=2)
    state = checkpoint.load(tmp_path / "out/last.pt")
    del state["metric"]
    checkpoint.save(state, tmp_path / "out/last.pt")
    train(metric="dice")
    assert checkpoint.load(tmp_path / "out/best.pt")["score"] == 0.6


def test_a_metric_that_is_unknown_is_refused(train):
    with pytest.raises(UserError, match=r"metric 'mIoU': unknown\. Did you mean 'miou'"):
        train(metric="mIoU")


def test_a_checkpoint_of_other_data_is_refused(train, tmp_path):
    from trainable.data.synthetic.synthesize import synthesize

    train(until=2)
    synthesize(tmp_path / "other", images=20, test_images=0, width=96, height=80, seed=2)
    other = open_data(tmp_path / "other", cache=tmp_path / "cache")
    with pytest.raises(UserError, match="other data"):
        train(data=other, folds=make_folds(other.foreground_shares, 4, 0, other.hash))


def test_a_batch_larger_than_the_fold_is_refused(train):
    with pytest.raises(UserError, match="batch_size = 16: larger than fold 0, which has 15 images"):
        train(small_config(batch_size=16))


def test_a_device_that_is_not_there_is_refused(train):
    with pytest.raises(UserError, match="device = 'cuda:7': cannot be used here"):
        train(device="cuda:7")


def test_interleaved_folds_do_not_disturb_each_other(train, tmp_path, small_data, small_folds):
    alone = [report.scores for report in train(folder=tmp_path / "alone")]
    one = train_fold(small_config(), small_data, small_folds, 0, tmp_path / "one")
    other = train_fold(small_config(loss="dice"), small_data, small_folds, 1, tmp_path / "other")
    assert [report.scores for report, _ in zip(one, other, strict=True)] == alone


def test_the_score_is_that_of_the_average_when_it_is_on(train, tmp_path):
    train(small_config(ema=0.5), until=4, folder=tmp_path / "on")
    state = checkpoint.load(tmp_path / "on/last.pt")
    name = "core.segmentation_head.1.0.weight"
    assert not torch.equal(state["weights"][name], state["network"][name])
    train(small_config(ema=0), until=4, folder=tmp_path / "off")
    assert checkpoint.load(tmp_path / "off/last.pt")["network"] == {}
