"""Memory measurements with a fake GPU: the steps are real, the memory statistics of CUDA are not."""

import json
import os
from types import SimpleNamespace

import pytest
import torch
from conftest import small_config

from trainable.errors import FoldFailed, UserError
from trainable.machine.memory_footprint import GIB, Card, Footprint
from trainable.preflight import memory_probe
from trainable.pretraining.stage import Stage
from trainable.training.trial import FoldTrial

CARD = Card("a card", 24 * GIB)


@pytest.fixture
def cuda(monkeypatch, small_cache):
    """24 GiB: other processes use 1, a bare context 0.5, and in the end this process 3 for tensors and 0.75 besides."""
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(small_cache))
    state = SimpleNamespace(used=[1.5, 1.5, 4.75], reserved=3.0, peak=3.5)
    look = SimpleNamespace(stdout=f"{2 * GIB}\n")  # a second process: its context beside the first
    monkeypatch.setattr(memory_probe.subprocess, "run", lambda *words, **more: look)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int((24 - state.used.pop(0)) * GIB), 24 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: int(state.reserved * GIB))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: int(state.peak * GIB))
    return state


def test_a_footprint_is_the_peak_of_the_tensors_and_the_context(cuda, small_folder):
    footprint = memory_probe.measure(small_config(), CARD, small_folder, 4, 0, "cpu")
    # Others: 1.5 - 0.5 = 1. In the end 4.75 are taken, of which 3 by tensors and 1 by others: 0.75 is ours beside.
    assert footprint == Footprint(int(3.5 * GIB), int(0.75 * GIB), CARD)


def test_a_measurement_trains_evaluates_and_writes_results(cuda, small_folder, monkeypatch):
    done = []
    real = FoldTrial.train_step, FoldTrial.evaluate, FoldTrial.save_best
    for function in real:

        def note(self, *arguments, function=function):
            done.append(function.__name__)
            return function(self, *arguments)

        monkeypatch.setattr(FoldTrial, function.__name__, note)
    memory_probe.measure(small_config(steps=10_000, evaluations=100), CARD, small_folder, 4, 0, "cpu")
    half = ["train_step", "train_step", "evaluate"]
    assert done == [*half, *half, "save_best"]


def test_the_stage_before_training_is_measured_too(cuda, small_folder, monkeypatch):
    dino = small_config(pretraining="dino", pretraining_batch_size=2, projection_size=8, local_crops=0)
    steps = []
    real = Stage.train_step
    monkeypatch.setattr(Stage, "train_step", lambda stage: (steps.append(stage.step), real(stage)))
    assert memory_probe.measure(dino, CARD, small_folder, 4, 0, "cpu").tensors == int(3.5 * GIB)
    assert steps == [0, 1, 2, 3]
    cuda.used = [1.5, 1.5, 4.75]

    def full(stage):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Stage, "train_step", full)
    with pytest.raises(UserError, match="batch_size 4, size 96x64, pretraining_batch_size 2 does not fit"):
        memory_probe.measure(dino, CARD, small_folder, 4, 0, "cpu")


def test_a_config_that_does_not_fit_is_reported_with_needed_and_available_memory(cuda, small_folder, monkeypatch):
    def step(self, images, labels):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(FoldTrial, "train_step", step)
    words = (
        r"batch_size 4, size 96x64 does not fit .* more than 3\.5 GiB, "
        r"a card has 24\.0 GiB, of which other processes use 1\.0"
    )
    with pytest.raises(UserError, match=words):
        memory_probe.measure(small_config(), CARD, small_folder, 4, 0, "cpu")


def test_memory_is_measured_despite_a_nan_loss(cuda, small_folder, monkeypatch):
    def evaluate(self):
        raise FoldFailed("nan", "the validation loss is nan at step 2", 2)

    monkeypatch.setattr(FoldTrial, "evaluate", evaluate)
    assert memory_probe.measure(small_config(), CARD, small_folder, 4, 0, "cpu").tensors == int(3.5 * GIB)


class Card24:
    """Stands in for processes that see a card: says what it is asked, counts how often it measures."""

    def __init__(self, **tensors):
        self.tensors, self.measured = tensors, []

    def __call__(self, work, *arguments):
        if work is memory_probe.card_here:
            return CARD
        config = arguments[0]
        self.measured.append(config.encoder)
        return Footprint(self.tensors[config.encoder] * GIB, GIB // 2, CARD)


@pytest.fixture
def cache(tmp_path, monkeypatch, small_data, small_cache):
    """A cache of its own for what is remembered; the decoded data come from where they are."""
    for entry in small_cache.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path))
    return tmp_path / "footprints"


CONFIGS = [small_config(encoder=encoder, batch_size=batch) for encoder in ("resnet18", "resnet34") for batch in (2, 4)]


def test_the_largest_counts_and_is_remembered(cache, small_folder, capsys):
    card = Card24(resnet18=3, resnet34=5)
    found = memory_probe.largest_footprint(CONFIGS, small_folder, 4, 0, card)
    assert found == Footprint(5 * GIB, GIB // 2, CARD) and card.measured == ["resnet18", "resnet34"]
    assert "a card: a fold trial takes up to 5.5 of 24.0 GiB (resnet34 unet, batch_size 4" in capsys.readouterr().err
    assert memory_probe.largest_footprint(CONFIGS, small_folder, 4, 0, card) == found
    assert len(card.measured) == 2, "nothing is measured twice"
    more = [*CONFIGS, small_config(encoder="resnet18", batch_size=6)]
    memory_probe.largest_footprint(more, small_folder, 4, 0, card)
    assert card.measured[2:] == ["resnet18"], "another shape is"


@pytest.mark.parametrize("change", ["versions", "code", "damage"])
def test_what_was_measured_under_other_circumstances_is_measured_again(cache, small_folder, monkeypatch, change):
    card = Card24(resnet18=3, resnet34=5)
    memory_probe.largest_footprint(CONFIGS, small_folder, 4, 0, card)
    if change == "versions":
        monkeypatch.setattr(memory_probe, "version", lambda name: "99")
    elif change == "code":
        monkeypatch.setattr(memory_probe, "ROOM", small_folder)
    else:
        for path in cache.iterdir():
            path.write_text(json.dumps({"tensors": "many"}))
    assert memory_probe.largest_footprint(CONFIGS, small_folder, 4, 0, card).tensors == 5 * GIB
    assert len(card.measured) == 4


@pytest.mark.usefixtures("forking")
def test_a_new_process_returns_values_and_errors():
    assert memory_probe.fresh_process(os.getpid) != os.getpid()
    with pytest.raises(UserError, match="size"):
        memory_probe.fresh_process(_refuse)
    with pytest.raises(UserError, match=r"resources\.gpu = auto: the process that measures memory was killed"):
        memory_probe.fresh_process(os._exit, 9)


def _refuse():
    from trainable.config import make_config

    make_config({"size": "1x1"})
