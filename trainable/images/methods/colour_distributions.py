"""Spatially varying colour distributions of each class, then the smoothest segmentation that fits them."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from trainable.config.images.colour_fields import ColourFields
from trainable.data.dataset import UNLABELLED, Pixels
from trainable.images.densities import colour_distances, log_densities, scribble_distances
from trainable.images.method import Probabilities, ScribbledImage
from trainable.images.regions import classes_present, keep_classes
from trainable.images.relaxation import edge_weights, relax

BATCH = 32  # images at once on a GPU; on a CPU that saves nothing

Reduced = tuple[npt.NDArray[np.float32], Pixels]  # colours (3, h, w) in 0 to 1, and labels (h, w)


class ColourDistributions:
    """The method of this name; its hyperparameters are those of ``ColourFields``.

    Densities and the relaxation work on the image reduced to ``working_size``, and probabilities are enlarged from
    there, so that a large image needs memory for its pixels only. A class without scribbles has probability 0; without
    any scribble all classes are equally likely. Scribbled pixels have the class of their scribble.
    """

    def __init__(self, config: ColourFields) -> None:
        self.config = config

    def batch(self, device: torch.device) -> int:
        return 1 if device.type == "cpu" else BATCH

    def segment(self, images: Sequence[ScribbledImage], classes: int, device: torch.device) -> list[Probabilities]:
        reduced = [_reduced(image, classes, self.config.working_size) for image in images]
        found: dict[int, Probabilities] = {}
        for places in _groups(reduced):
            maps = self._relaxed([images[place] for place in places], [reduced[place] for place in places], device)
            for place, (present, own) in zip(places, maps, strict=True):
                found[place] = _enlarged(own, present, images[place].scribble, classes)
        return [found[place] for place in range(len(images))]

    def _relaxed(
        self, images: list[ScribbledImage], reduced: list[Reduced], device: torch.device
    ) -> Iterable[tuple[list[int], Tensor]]:
        """The scribbled classes and their probabilities, of reduced images of one size with the same classes."""
        config = self.config
        present = classes_present(reduced[0][1])
        colours = torch.from_numpy(np.stack([own for own, _ in reduced])).to(device)
        if len(present) < 2:
            return [(present, own) for own in colours.new_ones((len(images), len(present), *colours.shape[2:]))]
        labels = np.stack([np.searchsorted(present, own).astype(np.uint8) for _, own in reduced])
        scribbles = torch.from_numpy(labels).to(device)  # counted without the classes that are not present
        points = self._points(colours, images)
        spreads = None if config.uniform else self._spreads(colours, scribbles, len(present))
        costs = -log_densities(points, scribbles, len(present), spreads, config.cost_limit)
        if present[0] == 0:
            costs[:, 0] -= config.background_bias
        u = relax(
            costs,
            edge_weights(colours, config.edge_gamma),
            config.smoothness * max(colours.shape[2:]),
            fixed=scribbles,
            iterations=config.relaxation_steps,
            gap=config.relaxation_gap,
        )
        return [(present, own) for own in u]

    def _points(self, colours: Tensor, images: list[ScribbledImage]) -> Tensor:
        """Colours and features (B, D, H, W), divided by their bandwidths."""
        points = (_lab(colours) if self.config.colour_space == "lab" else colours) / self.config.sigma
        features = [image.features for image in images if image.features is not None]
        if not features:
            return points
        maps = [
            F.interpolate(
                torch.from_numpy(each).to(points.device).float().permute(2, 0, 1)[None],
                points.shape[-2:],
                mode="bilinear",
                antialias=True,
            )
            for each in features
        ]
        return torch.cat([points, torch.cat(maps) / self.config.features_sigma], dim=1)

    def _spreads(self, colours: Tensor, scribbles: Tensor, classes: int) -> Tensor:
        """The bandwidths of places: at least ``alpha`` pixels, so that they are positive on a scribble."""
        distances = scribble_distances(scribbles, classes)
        if self.config.detour:
            side = max(colours.shape[2:])
            distances = distances + self.config.detour * side * colour_distances(scribbles, classes, colours)
        return self.config.alpha * distances.clamp(min=1)


def _lab(rgb: Tensor) -> Tensor:
    """CIE Lab of sRGB colours (B, 3, H, W), divided by 100: black to white is 1."""
    pictures = [cv2.cvtColor(each.permute(1, 2, 0).cpu().numpy(), cv2.COLOR_RGB2LAB) for each in rgb]
    return torch.from_numpy(np.stack(pictures) / 100).permute(0, 3, 1, 2).to(rgb.device)


def _groups(reduced: Sequence[Reduced]) -> Iterable[list[int]]:
    """Which images are worked on at once: those of one size and with the same classes."""
    groups: dict[object, list[int]] = {}
    for place, (colours, labels) in enumerate(reduced):
        groups.setdefault((colours.shape, *classes_present(labels)), []).append(place)
    return groups.values()


def _reduced(image: ScribbledImage, classes: int, most: int) -> Reduced:
    """An image and its scribbles with the longer side at most ``most``.

    A pixel has the label that most of the scribbled pixels in it have, so that thin scribbles are kept; a class that
    has no pixel then has the one where it is most frequent, unless another class would lose its only one.
    """
    height, width = image.scribble.shape
    scale = min(1.0, most / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image.image, size, interpolation=cv2.INTER_AREA)
    pixels = small.reshape(size[1], size[0], -1).transpose(2, 0, 1).astype(np.float32) / 255
    colours = np.broadcast_to(pixels, (3, *pixels.shape[1:]))  # distances in a grey image are those in its copy in RGB
    labels = np.full((size[1], size[0]), UNLABELLED, np.uint8)
    present = classes_present(image.scribble)
    shares = [
        cv2.resize((image.scribble == label).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        for label in present
    ]
    if shares:
        most_frequent = np.asarray(present, np.uint8)[np.argmax(shares, axis=0)]
        labels = np.where(np.any(np.stack(shares) > 0, axis=0), most_frequent, labels)
    for label, share in zip(present, shares, strict=True):
        if not (labels == label).any():
            labels.flat[share.argmax()] = label
    keep_classes(labels, image.scribble)
    return colours, labels


def _enlarged(maps: Tensor, present: list[int], scribble: Pixels, classes: int) -> Probabilities:
    """Probabilities of the present classes (k, h, w) as those of all classes at the size of the scribbles."""
    found = np.zeros((classes, *scribble.shape), np.float32)
    if not present:
        found += 1 / classes
        return found
    found[present] = F.interpolate(maps[None], scribble.shape, mode="bilinear")[0].cpu().numpy()
    known = scribble < classes
    found[:, known] = scribble[known] == np.arange(classes)[:, None]
    return found
