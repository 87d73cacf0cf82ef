from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import small_config

from trainable.augmentation import batches
from trainable.augmentation.batches import BatchStream, training_batches
from trainable.training.fold import train_fold

CPU = torch.device("cpu")


@pytest.fixture
def stream(small_data, small_folds):
    def make(fold=0, **values):
        indices = small_data.indices(small_folds.training(fold))
        return BatchStream(small_data, indices, small_config(augmentation="high", **values), fold)

    return make


def collect(stream, first, last, workers):
    return [(images.clone(), labels.clone()) for images, labels in training_batches(stream, first, last, CPU, workers)]


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 4])
def test_batches_are_the_same_with_any_number_of_workers(stream, workers):
    assert same(collect(stream(), 0, 9, 0), collect(stream(), 0, 9, workers))


def test_batches_after_a_resume_are_those_of_an_uninterrupted_run(stream):
    whole = collect(stream(), 0, 9, 0)
    assert same(whole[5:], collect(stream(), 5, 9, 0))
    assert same(whole[5:], collect(stream(), 5, 9, 2))


def test_every_configuration_of_a_level_sees_the_same_samples(stream):
    one, other = stream(), stream(loss="dice", pc=1, learning_rate=1e-4, batch_size=2)
    flat = [image for images, _ in collect(other, 0, 8, 0) for image in images]
    assert torch.equal(torch.cat([images for images, _ in collect(one, 0, 4, 0)]), torch.stack(flat))


def test_an_image_looks_different_in_every_epoch(stream):
    batches = stream(batch_size=5)
    per_epoch = {}
    for step in range(9):  # 15 training images: three epochs of three batches
        images, _ = batches[step]
        for (epoch, image), pixels in zip(batches.samples(step), images, strict=True):
            per_epoch.setdefault(image, {})[epoch] = pixels.numpy().tobytes()
    assert len(per_epoch) == 15
    assert all(len(views) == 3 == len(set(views.values())) for views in per_epoch.values())


def test_every_epoch_has_every_training_image_once_in_a_new_order(stream, small_data, small_folds):
    batches = stream(batch_size=4)
    shown = [pair for step in range(15) for pair in batches.samples(step)]  # 60 samples: four epochs of 15
    training = sorted(small_data.indices(small_folds.training(0)).tolist())
    orders = [[image for epoch, image in shown if epoch == e] for e in range(4)]
    assert all(sorted(order) == training for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_folds_and_seeds_have_streams_of_their_own(stream):
    first = collect(stream(), 0, 2, 0)
    assert not same(first, collect(stream(seed=1), 0, 2, 0))
    assert not same(first, collect(stream(fold=1), 0, 2, 0))


def test_batches_are_bytes(stream):
    images, labels = stream()[0]
    assert images.dtype == labels.dtype == torch.uint8
    assert images.shape == (4, 32, 64, 3) and labels.shape == (4, 32, 64)
    assert np.isin(labels.numpy(), [0x00, 0x01, 0x10, 0x20, 0x21]).all()


@pytest.mark.parametrize(("free", "workers"), [(10**12, 8), (64 * 2**20, 8), (2**18, 1), (30_000, 0)])
def test_only_so_many_workers_as_find_room_in_shared_memory(small_data, monkeypatch, tmp_path, free, workers):
    # a batch of 4 images of 64x32 and their labels is 32,768 bytes; 4 of them are ready, and half of the room is left
    stream = BatchStream(small_data, np.arange(8), small_config(batch_size=4), 0)
    monkeypatch.setattr(batches.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    assert batches.workers_that_fit(stream, 8) == workers
    assert batches.workers_that_fit(stream, 0) == 0
    monkeypatch.setattr(batches, "SHARED_MEMORY", tmp_path / "none")
    assert batches.workers_that_fit(stream, 8) == 8, "a system without it is asked nothing"


def test_a_fold_trains_without_workers_if_shared_memory_is_full(small_data, small_folds, monkeypatch, tmp_path):
    monkeypatch.setattr(batches.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    list(train_fold(small_config(), small_data, small_folds, 0, tmp_path, until=2, workers=2))
    assert "room for the batches of 0 of 2 workers" in (tmp_path / "log.txt").read_text()
