"""Scoring a network on held-out images: counts at working size or at the images' original size."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainable.config import Config
from trainable.data import dataset
from trainable.data.dataset import IGNORED, Pixels, Split
from trainable.data.decoded_images import Data
from trainable.data.labelled import SCRIBBLES, Labelled
from trainable.data.packed_labels import unpack
from trainable.data.reading import read_mask, read_scribble
from trainable.networks.scribble_network import probabilities_of
from trainable.objectives.losses import training_loss
from trainable.objectives.metrics import Counts, count

Autocast = Callable[[], AbstractContextManager[object]]
Probability = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Evaluation:
    """``counts`` has a confusion matrix per image, in the order of the indices."""

    counts: Counts
    loss: float


def evaluate(
    network: nn.Module,
    data: Data,
    indices: npt.NDArray[np.int64],
    config: Config,
    device: torch.device,
    autocast: Autocast,
    class_weights: Sequence[float] | None = None,
) -> Evaluation:
    """Counts and loss at working size; waits for the device once, at the end. ``class_weights`` are of the loss."""
    rows: list[Tensor] = []
    losses: list[Tensor] = []
    classes = len(data.task.classes)
    for logits, images, labels in _forward(network, data, indices, config.batch_size, device, autocast):
        truth = _truth(labels, data)
        if classes == 2:
            rows.append(_binary_counts(probabilities_of(logits)[:, 0] > config.tau, truth))
        else:
            rows.append(_confusion(logits.argmax(dim=1), truth, classes))
        loss = training_loss(logits, labels, config, data.ignoring, images, class_weights)
        losses.append(loss * len(logits))
    total = float(torch.stack(losses).sum())
    return Evaluation(torch.cat(rows).cpu().numpy().astype(np.int64), total / len(indices))


def original_probabilities(
    network: nn.Module, data: Data, indices: npt.NDArray[np.int64], batch: int, device: torch.device, autocast: Autocast
) -> Iterator[tuple[int, Probability, Pixels]]:
    """Image by image: its index, its probabilities at original size, and what it is scored on.

    Probabilities are (H, W) of the foreground of two classes, else (K, H, W).
    """
    position = iter(indices.tolist())
    for logits, _, _ in _forward(network, data, indices, batch, device, autocast):
        for probability in probabilities_of(logits):
            index = next(position)
            truth = original_truth(data, data.stems[index])
            enlarged = F.interpolate(probability[None], size=truth.shape, mode="bilinear", align_corners=False)
            found = enlarged[0, 0] if len(probability) == 1 else enlarged[0]
            yield index, found.cpu().numpy(), truth


def original_truth(data: Labelled, stem: str) -> Pixels:
    """What an image is scored on, at its original size."""
    return true_labels(data.split, stem, data.scored_on == SCRIBBLES)


def true_labels(split: Split, stem: str, on_scribbles: bool) -> Pixels:
    """The mask of an image, or its scribbled pixels if the data are scored on those."""
    if not on_scribbles:
        return read_mask(split.truth[stem], split.task)
    scribble = read_scribble(split.scribbles[stem], split.task)
    scribble[scribble == dataset.UNLABELLED] = IGNORED
    return scribble


def original_counts(probability: Probability, truth: Pixels, tau: float, classes: int = 2) -> Counts:
    return count(classified(probability, tau), truth, classes)


def classified(probability: Probability, tau: float) -> Pixels:
    """The class of each pixel; ``tau`` is the threshold of two classes."""
    found = probability > tau if probability.ndim == 2 else probability.argmax(axis=0)
    return found.astype(np.uint8)


def _truth(labels: Tensor, data: Data) -> Tensor:
    """(B, H, W) classes; values beyond the classes are not scored."""
    scribble, mask = unpack(labels)
    # 0, "no scribble", wraps around to 255.
    truth: Tensor = scribble - 1 if data.scored_on == SCRIBBLES else mask
    return truth


def _binary_counts(predicted: Tensor, truth: Tensor) -> Tensor:
    positive, negative = truth == 1, truth == 0
    sums = [~predicted & negative, predicted & negative, ~predicted & positive, predicted & positive]
    return torch.stack([where.flatten(1).sum(1) for where in sums], dim=1).view(-1, 2, 2)


def _confusion(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """A confusion matrix per image, without waiting for the device; pixels that are not scored go to a further row."""
    places = truth.clamp(max=classes).long() * classes + predicted
    sums = torch.zeros(len(places), (classes + 1) * classes, dtype=torch.int64, device=places.device)
    sums.scatter_add_(1, places.flatten(1), torch.ones_like(places).flatten(1))
    return sums.view(-1, classes + 1, classes)[:, :classes]


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
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Logits (B, C, H, W), bytes and packed labels of the images, in evaluation mode, batch by batch."""
    was_training = network.training
    network.eval()
    try:
        for start in range(0, len(indices), batch):
            rows = indices[start : start + batch]
            images, labels = (_sent(torch.from_numpy(array[rows]), device) for array in (data.images, data.labels))
            yield _predict(network, images, unpack(labels)[0], autocast), images, labels
    finally:
        network.train(was_training)
