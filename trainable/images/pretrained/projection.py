"""Principal components of feature maps over training images, which reduce them to a few channels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

SAMPLED = 512  # pixels of each training image
SPREAD = 0.3  # about that of probabilities, so that bandwidths of both are alike
PROJECTION = 7  # random stream of these pixels

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Projection:
    """Maps (C, h, w) to (h, w, k): the maps less their mean, times the components."""

    mean: Floats
    components: Floats  # (C, k)

    def __call__(self, maps: Tensor) -> Floats:
        mean, components = (torch.from_numpy(each).to(maps.device) for each in (self.mean, self.components))
        found = torch.einsum("chw,ck->hwk", maps.float() - mean[:, None, None], components)
        return found.cpu().numpy()

    def as_json(self) -> dict[str, Any]:
        return {"mean": self.mean.tolist(), "components": self.components.tolist()}


def read_projection(values: dict[str, Any]) -> Projection:
    return Projection(np.array(values["mean"], np.float32), np.array(values["components"], np.float32))


def fit_projection(maps: Iterable[Tensor], channels: int, kept: int = 0) -> Projection:
    """The leading components over a random sample of the pixels of these maps, each (C, h, w).

    The first ``kept`` channels stay as they are, the others are reduced to what is left of ``channels``. All
    components have the scale at which the first of them has the standard deviation ``SPREAD``.
    """
    rng = np.random.default_rng(PROJECTION)
    samples = []
    for each in maps:
        flat = each.flatten(1)
        places = torch.from_numpy(rng.integers(0, flat.shape[1], SAMPLED)).to(flat.device)
        samples.append(flat[:, places].T.double().cpu().numpy())
    rows = np.concatenate(samples)
    mean, factors = rows.mean(axis=0), np.zeros((rows.shape[1], min(channels, rows.shape[1])))
    mean[:kept] = 0
    np.fill_diagonal(factors[:kept], 1)
    own = rows[:, kept:] - mean[kept:]
    if wanted := factors.shape[1] - kept:
        variances, axes = np.linalg.eigh(own.T @ own / len(own))  # ascending
        chosen = axes[:, ::-1][:, :wanted]
        chosen = chosen * np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(chosen.shape[1])])
        factors[kept:, kept:] = chosen * (SPREAD / max(np.sqrt(max(variances[-1], 0)), 1e-6))
    return Projection(mean.astype(np.float32), factors.astype(np.float32))
