"""The stream of training batches: batch k is a pure function of (seed, fold, k), in any process and at any time.

Samples are drawn from one endless sequence of shuffled epochs, so no image is dropped at the end of an epoch, and two
configs with different batch sizes see the same samples with the same augmentation in the same order.
"""

import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainable.augmentation.levels import Augmentation
from trainable.config import Config
from trainable.data.decoded_images import Data
from trainable.data.labelled import SCRIBBLES
from trainable.data.packed_labels import with_border, without_mask

PREFETCHED = 4  # batches that each worker prepares in advance
SHARED_MEMORY = Path("/dev/shm")
ORDER, SAMPLE = 1, 2  # separate random streams for shuffling and augmentation


class BatchStream(Dataset[tuple[Tensor, Tensor]]):
    """Item k is the whole batch of step k: images (B, H, W, C) and packed labels (B, H, W), both uint8.

    Where supervision is by scribbles, masks are removed from the labels before anything else is done with them.
    """

    def __init__(self, data: Data, indices: npt.NDArray[np.int64], config: Config, fold: int) -> None:
        self.data = data
        self.indices = indices
        self.batch_size = config.batch_size
        self.key = (config.seed, fold)
        self.supervision, self.border = config.supervision, config.border
        self.augmentation = Augmentation(
            config.augmentation, data.size, len(data.task.classes), config.supervision, config.inputs != "image"
        )
        self.order: tuple[int, npt.NDArray[np.int64]] = (-1, indices)

    def samples(self, step: int) -> list[tuple[int, int]]:
        """The (epoch, image) pairs of a step."""
        first = step * self.batch_size
        places = [divmod(number, len(self.indices)) for number in range(first, first + self.batch_size)]
        return [(epoch, int(self._shuffled(epoch)[position])) for epoch, position in places]

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        width, height = self.data.size
        images = np.empty((self.batch_size, height, width, self.data.channels), np.uint8)
        labels = np.empty((self.batch_size, height, width), np.uint8)
        for row, (epoch, image) in enumerate(self.samples(step)):
            key = (SAMPLE, *self.key, epoch, image)
            packed = self.data.labels[image]
            if self.supervision == SCRIBBLES:
                packed = without_mask(packed)
            if self.border:
                packed = with_border(packed, self.border)
            images[row], labels[row] = self.augmentation(self.data.images[image], packed, key)
        return torch.from_numpy(images), torch.from_numpy(labels)

    def _shuffled(self, epoch: int) -> npt.NDArray[np.int64]:
        if self.order[0] != epoch:
            self.order = (epoch, np.random.default_rng((ORDER, *self.key, epoch)).permutation(self.indices))
        return self.order[1]


def training_batches(
    stream: BatchStream, first: int, last: int, device: torch.device, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the steps ``first`` to ``last - 1`` in order, on the device."""
    loader = DataLoader(
        stream,
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=_start_worker,
        prefetch_factor=PREFETCHED if workers else None,
    )
    return _on_gpu(loader, device) if device.type == "cuda" else iter(loader)


def _on_gpu(batches: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Copy each batch in a stream of its own, while the GPU is still busy with the step before it."""
    copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    for batch in batches:
        with torch.cuda.stream(copying):
            images, labels = (tensor.to(device, non_blocking=True) for tensor in batch)
        training = torch.cuda.current_stream(device)
        training.wait_stream(copying)
        for tensor in (images, labels):
            tensor.record_stream(training)  # its memory is in use until the step has run
        yield images, labels


def workers_that_fit(stream: BatchStream, workers: int) -> int:
    """The number of workers whose batches fit in shared memory, of which containers often have little.

    Half of the free memory is left to other processes; a worker that runs out of it is killed by the system.
    """
    width, height = stream.data.size
    batch = stream.batch_size * width * height * (stream.data.channels + 1)  # channels and labels, one byte each
    if not workers or not SHARED_MEMORY.is_dir():
        return workers
    return min(workers, shutil.disk_usage(SHARED_MEMORY).free // (2 * PREFETCHED * batch))


def default_workers(device: torch.device) -> int:
    """On a CPU, steps need all cores and the input very little; a GPU needs several cores for its input."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if device.type == "cpu" else max(1, min(8, cores - 1))


def _start_worker(worker: int) -> None:
    """One thread per worker; Ctrl-C is handled by the main process, which ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
