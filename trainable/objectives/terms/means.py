"""Averages over the pixels that have a label."""

from torch import Tensor


def mean_where(values: Tensor, where: Tensor | None) -> Tensor:
    """Over the pixels of a batch; 0 if there are none. ``where`` is None if all of them count."""
    return values.mean() if where is None else (values * where).sum() / where.sum().clamp(min=1)


def mean_of_samples(values: Tensor, where: Tensor) -> Tensor:
    """Over the pixels of each sample (N, H, W), then over the samples that have any; 0 if none has."""
    pixels = where.flatten(1).sum(1)
    means = (values * where).flatten(1).sum(1) / pixels.clamp(min=1)
    return means.sum() / (pixels > 0).sum().clamp(min=1)
