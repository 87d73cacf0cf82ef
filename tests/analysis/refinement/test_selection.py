"""Choosing on some folds and scoring on another one: what is reported was never chosen on the same images."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from noisy_disks import noisy, picture

from analysis.refinement.chain import with_step
from analysis.refinement.steps.components import Holes, SmallestComponent
from analysis.refinement.steps.crf import DenseCrf
from analysis.refinement.steps.registry import ORDER
from analysis.refinement.steps.scribbles import Scribbles
from analysis.refinement.steps.step import Scene
from analysis.refinement.steps.thresholds import ClassWeights, Threshold
from analysis.tuning.candidates import TAUS
from analysis.tuning.scoring import Scoring
from analysis.tuning.selection import CHAIN, rounds_in, select
from analysis.tuning.trials import HeldOut, Trials
from trainable.data.task import TWO_CLASSES, Task
from trainable.errors import UserError

FOLDS = np.repeat([0, 1, 2], 10).astype(np.int64)
SCORING = Scoring("pixel_accuracy", TWO_CLASSES, FOLDS)
CPU = torch.device("cpu")


def scripted(share):
    """An evaluation in which ``share(chain, fold, image)`` of 1,000 pixels are right."""
    calls = []

    def evaluate(chains, kept):
        calls.append(list(chains))
        found = {}
        for chain in chains:
            right = [round(1000 * share(chain, int(fold), image)) for image, fold in enumerate(FOLDS)]
            found[chain] = np.array([[[each, 0], [1000 - each, 0]] for each in right], np.int64)
        return found

    return evaluate, calls


def tau_of(chain):
    return next((step.tau for step in chain if isinstance(step, Threshold)), 0.5)


def by_name(selected):
    return {each.name: each for each in selected.tried}


def test_a_threshold_that_suits_one_fold_only_gains_nothing_on_it():
    """Each fold has a threshold of its own that would look like 0.3 on its own images."""
    own = {0: 0.2, 1: 0.5, 2: 0.8}
    evaluate, _ = scripted(lambda chain, fold, image: 0.9 if tau_of(chain) == own[fold] else 0.6)
    selected = select([Threshold], SCORING, evaluate)
    for tried in selected.tried:
        for fold, chain in enumerate(tried.without):
            assert tau_of(chain) in {0.5, *own.values()} - {own[fold] if chain else None}
        assert tried.gain.mean <= 0 and not tried.helps
    assert selected.chain == ()


@pytest.mark.parametrize("left", [0, 1, 2])
def test_what_is_chosen_for_a_fold_does_not_depend_on_its_images(left):
    def chosen(seed):
        """The images of one fold are of another kind each time."""
        best = np.random.default_rng(seed).choice(TAUS)
        evaluate, _ = scripted(
            lambda chain, fold, image: 0.9 - (tau_of(chain) - (best if fold == left else 0.3)) ** 2 + image % 3 / 100
        )
        return by_name(select([Threshold], SCORING, evaluate))[CHAIN]

    found = [chosen(seed) for seed in range(6)]
    assert {tau_of(each.without[left]) for each in found} == {0.3}
    assert len({tau_of(each.chain) for each in found}) > 1, "on all folds, its images do matter"


def test_the_reported_gain_is_that_of_the_folds_own_choices():
    """0.3 is good for folds 0 and 2 and ruins fold 1: the others choose it for fold 1, and nothing for 0 and 2."""
    evaluate, _ = scripted(
        lambda chain, fold, image: 0.5 if tau_of(chain) == 0.5 else (0.8 - abs(tau_of(chain) - 0.3)) * (fold != 1)
    )
    tried = by_name(select([Threshold], SCORING, evaluate))["threshold"]
    assert tried.without == ((), (Threshold(0.3),), ())
    assert tried.gain.mean == pytest.approx(-0.5 / 3, abs=1e-3)


def test_nothing_helps_is_an_answer():
    evaluate, _ = scripted(lambda chain, fold, image: 0.8 - 0.01 * len(chain))
    selected = select(ORDER, SCORING, evaluate)
    assert selected.chain == () and selected.score == pytest.approx(0.8)
    assert [each.name for each in selected.tried][-1] == CHAIN
    assert all(each.gain.mean == 0 and each.chain == () and not each.helps for each in selected.tried)


def test_a_gain_within_its_noise_is_not_taken():
    """Every second image gains much, the others lose almost as much."""
    evaluate, _ = scripted(lambda chain, fold, image: 0.5 + (0.31 if image % 2 else -0.3) * bool(chain))
    assert select([Scribbles], SCORING, evaluate).tried[-1].chain == ()


@pytest.mark.parametrize(("every", "chosen"), [(3, ()), (1, (Scribbles(),))])
def test_a_gain_of_next_to_nothing_is_not_worth_a_step(every, chosen):
    """A thousandth more on a third of the images is certain, but only 0.0003."""
    evaluate, _ = scripted(lambda chain, fold, image: 0.5 + 0.001 * (bool(chain) and image % every == 0))
    assert select([Scribbles], SCORING, evaluate).tried[-1].chain == chosen


def test_a_gain_whose_interval_has_a_loss_in_it_is_shown_but_not_used():
    """Four of five images lose a little and one gains much: more than a standard error, less than two."""
    evaluate, _ = scripted(lambda chain, fold, image: 0.5 + (0.45 if image % 5 == 0 else -0.05) * bool(chain))
    tried = select([Scribbles], SCORING, evaluate).tried[-1]
    assert tried.chain == (Scribbles(),) and tried.gain.mean > 0 > tried.gain.low
    assert not tried.helps


def test_a_step_joins_the_chain_that_those_before_it_made():
    def share(chain, fold, image):
        names = {step.name for step in chain}
        return 0.5 + 0.2 * (tau_of(chain) == 0.35) + 0.1 * ({"threshold", "holes"} <= names) + image % 2 / 100

    evaluate, calls = scripted(share)
    selected = select(ORDER, SCORING, evaluate)
    assert selected.chain == (Threshold(0.35), Holes(0.001)), "the first of settings that are equally good"
    found = by_name(selected)
    assert found["holes"].chain == () and found["threshold"].gain.mean == pytest.approx(0.2, abs=1e-3)
    assert found[CHAIN].gain.mean == pytest.approx(0.3, abs=1e-3) and found[CHAIN].helps
    assert len(calls) == rounds_in(ORDER, TWO_CLASSES)
    evaluated = [chain for call in calls for chain in call]
    assert len(evaluated) == len(set(evaluated))


def test_weights_of_several_classes_are_chosen_one_after_the_other():
    task = Task(("back", "a", "b"), declared=True)
    best = np.array([1.0, 2.0, 0.5])

    def evaluate(chains, kept):
        found = {}
        for chain in chains:
            weights = np.array(chain[0].weights if chain else (1.0, 1.0, 1.0))
            right = 900 - round(100 * float(np.abs(np.log2(weights / best)).sum()))
            found[chain] = np.array([np.diag([right + image, 0, 0]) + np.eye(3)[[2, 0, 1]] * 10 for image in range(30)])
        return {chain: counts.astype(np.int64) for chain, counts in found.items()}

    selected = select([Threshold, ClassWeights], Scoring("pixel_accuracy", task, FOLDS), evaluate)
    assert selected.chain == (ClassWeights((1.0, 2.0, 0.5)),)
    assert [each.name for each in selected.tried] == ["class_weights", CHAIN], "a threshold is of two classes"


def test_intervals_draw_groups_and_metrics_of_volumes_sum_over_slices():
    counts = np.zeros((12, 2, 2), np.int64)
    counts[:, 1, 1], counts[:, 1, 0] = np.arange(12) + 1, 4
    folds = np.repeat([0, 1], 6).astype(np.int64)
    volumes = tuple(f"v{place // 2}" for place in range(12))
    scoring = Scoring("dice_volume", TWO_CLASSES, folds, volumes)
    assert scoring.unit == "volume"
    by_hand = [2 * n / (2 * n + 8) for n in (3, 7, 11, 15, 19, 23)]
    assert scoring.by_fold(counts) == pytest.approx([np.mean(by_hand[:3]), np.mean(by_hand[3:])])
    better = counts + np.array([[0, 0], [-2, 2]])
    alone, grouped = (
        Scoring("pixel_accuracy", TWO_CLASSES, folds, None, groups).gain(counts, better)
        for groups in (None, tuple(f"g{place // 3}" for place in range(12)))
    )
    assert alone.mean == grouped.mean > 0 and grouped.error > alone.error
    whole = Scoring("pixel_accuracy", TWO_CLASSES, folds, None, ("a",) * 6 + ("b",) * 6).gain(counts, better)
    assert whole.mean == alone.mean and np.isnan(whole.low), "a single group per fold has no interval"


@pytest.fixture
def noise(tmp_path):
    """6 disks in three folds, whose probabilities are right with much noise of each pixel."""
    images = []
    for place in range(6):
        image, inside = picture(30, 40, seed=place)
        scribble = np.full(inside.shape, 255, np.uint8)
        scribble[15, 20] = 1  # one pixel, and none of the background
        np.save(tmp_path / f"pixels-{place}.npy", np.dstack([image, scribble, inside.astype(np.uint8)]))
        np.save(tmp_path / f"probability-{place}.npy", noisy(inside, 2, seed=place)[1].astype(np.float16))
        images.append(
            HeldOut(str(place), place % 3, tmp_path / f"pixels-{place}.npy", tmp_path / f"probability-{place}.npy")
        )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return images, scratch


def test_noise_is_removed_with_a_real_gain(noise):
    images, scratch = noise
    notes = []
    trials = Trials(images, 2, 0.5, CPU, scratch, lambda: notes.append(1))
    scoring = Scoring("miou", TWO_CLASSES, np.array([each.fold for each in images], np.int64))
    selected = select([DenseCrf, SmallestComponent, Holes], scoring, trials.evaluate)
    found = by_name(selected)
    assert found["crf"].gain.low > 0.2 and found["smallest_component"].gain.low > 0.02
    assert found[CHAIN].helps and selected.chain[0].name == "crf"
    assert found[CHAIN].gain.mean >= found["crf"].gain.mean - 1e-9
    assert selected.score + found[CHAIN].gain.mean > 0.9
    assert len(notes) == 6 * rounds_in([DenseCrf, SmallestComponent, Holes], TWO_CLASSES)


def test_a_field_is_computed_once_per_image_and_forgotten_when_no_chain_needs_it(noise, monkeypatch):
    images, scratch = noise
    steps = [DenseCrf(3, 0.1, 16, 3), DenseCrf(10, 0.1, 16, 3)]
    computed = []
    whole = DenseCrf.apply_each.__func__

    def counted(kind, given, maps, scene):
        computed.extend(given)
        yield from whole(kind, given, maps, scene)

    monkeypatch.setattr(DenseCrf, "apply_each", classmethod(counted))
    trials = Trials(images, 2, 0.5, CPU, scratch)
    trials.evaluate([()], [()])
    first = trials.evaluate([(step,) for step in steps], [()])
    again = trials.evaluate([(steps[0],), (steps[0], Threshold(0.5)), (steps[0], Holes(1.0))], [()])
    assert len(computed) == 2 * 6
    assert np.array_equal(first[steps[0],], again[steps[0],])
    assert np.array_equal(again[steps[0],], again[steps[0], Threshold(0.5)])
    assert len(list(scratch.glob("*.npy"))) == 6, "the other one is gone"


def test_probabilities_that_the_disk_has_no_room_for_are_an_error_before_they_are_computed(noise, monkeypatch):
    images, scratch = noise
    steps = [DenseCrf(3, 0.1, 16, 3), DenseCrf(10, 0.1, 16, 3)]
    trials = Trials(images, 2, 0.5, CPU, scratch)
    needed = 2 * sum(np.load(image.probability).nbytes for image in images)  # files have headers besides
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=needed))
    trials.evaluate([()], [()])
    with pytest.raises(UserError, match=rf"{scratch.parent}: .* need 30.3 kB .* 28.8 kB are free: .* TMPDIR"):
        trials.evaluate([(step,) for step in steps], [()])
    assert not list(scratch.iterdir())
    trials.evaluate([(steps[0],)], [()])


def test_counts_are_those_of_the_masks_that_predict_would_write(noise):
    from analysis.refinement.chain import refined
    from trainable.objectives.metrics import count

    images, scratch = noise
    chain = with_step((DenseCrf(3, 0.1, 16, 3), Threshold(0.4)), Scribbles())
    found = Trials(images, 2, 0.5, CPU, scratch).evaluate([chain], [()])[chain]
    for place, image in enumerate(images):
        pixels = np.load(image.pixels)
        scene = Scene(pixels[..., :3], pixels[..., 3])
        mask = refined(np.load(image.probability).astype(np.float32), scene, chain, 0.5)
        assert np.abs(found[place] - count(mask, pixels[..., 4])).sum() <= 4, "but for rounding to half precision"
