"""Scoring a network on held-out images: counts at working size or at the images' original size."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainable.config import Config
from trainable.data import dataset
from trainable.data.decoded_images import Data, unpack
from trainable.objectives.losses import segmentation_loss
from trainable.objectives.metrics import Counts, count

Autocast = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Evaluation:
    """``counts`` has a row per image, in the order of the indices."""

    counts: Counts
    loss: float


def evaluate(
    network: nn.Module,
    data: Data,
    indices: npt.NDArray[np.int64],
    config: Config,
    device: torch.device,
    autocast: Autocast,
) -> Evaluation:
    """Counts and loss at working size; waits for the device once, at the end."""
    rows: list[Tensor] = []
    losses: list[Tensor] = []
    for logits, truth in _forward(network, data, indices, config.batch_size, device, autocast):
        predicted, positive = logits.float().sigmoid() > config.tau, truth > 0
        sums = [(predicted & positive), (predicted & ~positive), (~predicted & positive), (~predicted & ~positive)]
        rows.append(torch.stack([mask.flatten(1).sum(1) for mask in sums], dim=1))
        losses.append(segmentation_loss(logits, truth, config) * len(logits))
    total = float(torch.stack(losses).sum())
    return Evaluation(torch.cat(rows).cpu().numpy().astype(np.int64), total / len(indices))


def original_probabilities(
    network: nn.Module, data: Data, indices: npt.NDArray[np.int64], batch: int, device: torch.device, autocast: Autocast
) -> Iterator[tuple[int, npt.NDArray[np.float32], dataset.Pixels]]:
    """Image by image: its index, the foreground probability at its original size, and its original mask."""
    position = iter(indices.tolist())
    for logits, _ in _forward(network, data, indices, batch, device, autocast):
        for probability in logits.float().sigmoid():
            index = next(position)
            truth = dataset.read_mask(data.split.truth[data.stems[index]])
            enlarged = F.interpolate(probability[None], size=truth.shape, mode="bilinear", align_corners=False)
            yield index, enlarged[0, 0].cpu().numpy(), truth


def original_counts(probability: npt.NDArray[np.float32], truth: dataset.Pixels, tau: float) -> Counts:
    return count(probability > tau, truth > 0)


@torch.inference_mode()
def _predict(network: nn.Module, images: Tensor, scribble: Tensor, autocast: Autocast) -> Tensor:
    with autocast():
        logits: Tensor = network(images, scribble)
    return logits


def _sent(batch: Tensor, device: torch.device) -> Tensor:
    """From pinned memory the copy to a GPU is asynchronous."""
    return batch.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else batch.to(device)


def _forward(
    network: nn.Module, data: Data, indices: npt.NDArray[np.int64], batch: int, device: torch.device, autocast: Autocast
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and truth (both B, 1, H, W) of the images, in evaluation mode, batch by batch."""
    was_training = network.training
    network.eval()
    try:
        for start in range(0, len(indices), batch):
            rows = indices[start : start + batch]
            images, labels = (_sent(torch.from_numpy(array[rows]), device) for array in (data.images, data.labels))
            scribble, mask = unpack(labels)
            yield _predict(network, images, scribble, autocast), mask.unsqueeze(1).float()
    finally:
        network.train(was_training)
