"""How likely each class is to show a pixel's colour at its place: kernel densities around the scribbles' pixels.

log p(colour, place | class) is the logarithm of the mean over the class's scribbled pixels s of
N(x - x_s; rho(x)) N(colour - colour_s; sigma), where rho(x) grows with the distance from x to the class's scribbles.
What all classes share, the factors of pi and sigma, is left out.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

MOST_SOURCES = 400  # scribbled pixels of a class that enter its density, evenly spaced over all of them
PAIRS = {"cpu": 2**19, "cuda": 2**26}  # of a pixel and a source at once: fits the cache of a core, 256 MB of a GPU
NEVER = -1e9  # of a source that only fills up a batch


def log_densities(
    points: Tensor,
    scribbles: Tensor,
    classes: int,
    spreads: Tensor | None = None,
    cost_limit: float | None = None,
    most_sources: int = MOST_SOURCES,
) -> Tensor:
    """log p of all pixels (B, K, H, W) from their colours and features (B, D, H, W), divided by their bandwidths.

    ``scribbles`` (B, H, W) are labels; those of no class are K or more. ``spreads`` (B, K, H, W) are the bandwidths
    rho(x) in pixels; without them densities do not depend on the place. A colour that no scribble shows lowers log p by
    ``cost_limit`` at most, as if a share exp(-cost_limit) of the pixels had any colour. A class without scribbles has
    log p = -inf.
    """
    count, _, height, width = points.shape
    found = points.new_full((count, classes, height * width), -math.inf)
    pixels = points.flatten(2).transpose(1, 2)
    pixels = pixels - pixels.mean(dim=1, keepdim=True)
    places = _places(height, width, points.device)
    for label in range(classes):
        chosen, used = _sources(scribbles.flatten(1) == label, most_sources)
        there = used.any(dim=1)
        if not there.any():
            continue
        spread = None if spreads is None else spreads[there, label].flatten(1)
        found[there, label] = _log_means(pixels[there], places, chosen[there], used[there], spread, cost_limit)
    return found.view(count, classes, height, width)


def _log_means(
    pixels: Tensor, places: Tensor, chosen: Tensor, used: Tensor, spread: Tensor | None, cost_limit: float | None
) -> Tensor:
    """log p (B, N) of one class; the exponents of all pairs are a single product of matrices."""
    sources = torch.gather(pixels, 1, chosen[..., None].expand(-1, -1, pixels.shape[2]))
    offsets = torch.where(used, -0.5 * sources.square().sum(dim=2), NEVER)
    left = [pixels, torch.ones_like(pixels[..., :1]), -0.5 * pixels.square().sum(dim=2, keepdim=True)]
    right = [sources, offsets[..., None], torch.ones_like(sources[..., :1])]
    if spread is not None:
        scale = spread.square().reciprocal()[..., None]
        squared = places.square().sum(dim=1, keepdim=True)
        left += [places * scale, -0.5 * scale, -0.5 * squared * scale]
        right += [places[chosen], squared[chosen], torch.ones_like(sources[..., :1])]
    first, second = torch.cat(left, dim=2), torch.cat(right, dim=2).transpose(1, 2)
    rows = max(1, PAIRS.get(pixels.device.type, PAIRS["cpu"]) // chosen.numel())
    with full_precision():
        starts = range(0, first.shape[1], rows)
        means = torch.cat([_log_sum_exp(torch.bmm(first[:, row : row + rows], second)) for row in starts], dim=1)
    means = means - used.sum(dim=1, keepdim=True).log()
    if cost_limit is not None:
        means = torch.logaddexp(means, means.new_full((), -cost_limit))
    return means if spread is None else means - 2 * spread.log()


def _log_sum_exp(values: Tensor) -> Tensor:
    """As ``torch.logsumexp`` over the last dimension, and five times as fast on CPUs for very negative values."""
    return values.amax(dim=-1) - values.softmax(dim=-1).amax(dim=-1).log()


def _sources(of_class: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The places (B, S) of at most so many pixels of each row, and which of them are not there to fill up."""
    lists = []
    for row in of_class:
        places = row.nonzero()[:, 0]
        if len(places) > most:
            places = places[torch.linspace(0, len(places) - 1, most, device=row.device).round().long()]
        lists.append(places)
    chosen = pad_sequence(lists, batch_first=True, padding_value=-1)
    return chosen.clamp(min=0), chosen >= 0


def _places(height: int, width: int, device: torch.device) -> Tensor:
    """The coordinates (N, 2) of all pixels, from the centre, which keeps rounding errors small."""
    rows = torch.arange(height, device=device, dtype=torch.float32) - (height - 1) / 2
    columns = torch.arange(width, device=device, dtype=torch.float32) - (width - 1) / 2
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).view(-1, 2)


@contextmanager
def full_precision() -> Iterator[None]:
    """Products of matrices in float32: the exponents are differences of large numbers, too large for TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def scribble_distances(scribbles: Tensor, classes: int) -> Tensor:
    """The distance (B, K, H, W) in pixels to the nearest scribble of each class; infinite without one."""
    labels = scribbles.cpu().numpy()
    found = np.full((len(labels), classes, *labels.shape[1:]), np.inf, np.float32)
    for image, own in zip(labels, found, strict=True):
        for label in range(classes):
            elsewhere = image != label
            if not elsewhere.all():
                own[label] = distance_transform_edt(elsewhere)  # the last bits of OpenCV's vary from call to call
    return torch.from_numpy(found).to(scribbles.device)


def colour_distances(scribbles: Tensor, classes: int, colours: Tensor) -> Tensor:
    """The least change of colour (B, K, H, W) on a way from a scribble of each class; infinite without one.

    A way leads over neighbours in rows and columns of ``colours`` (B, D, H, W). Sweeps in all four directions, each a
    cumulative minimum, are repeated until nothing changes.
    """
    labels = torch.arange(classes, device=scribbles.device).view(1, -1, 1, 1)
    found = torch.where(scribbles[:, None] == labels, 0.0, math.inf)
    along = [_changes(colours, dimension) for dimension in (3, 2)]
    while True:
        before = found
        for dimension, change in zip((3, 2), along, strict=True):
            forward = (found - change).cummin(dim=dimension).values + change
            backward = (found + change).flip(dimension).cummin(dim=dimension).values.flip(dimension) - change
            found = torch.minimum(found, torch.minimum(forward, backward))
        if torch.allclose(before, found, rtol=1e-4, atol=1e-4):
            return found


def _changes(colours: Tensor, dimension: int) -> Tensor:
    """The changes of colour summed up along a dimension, (B, 1, H, W)."""
    changes = colours.diff(dim=dimension, prepend=colours.narrow(dimension, 0, 1))
    return changes.square().sum(dim=1, keepdim=True).sqrt().cumsum(dim=dimension)
