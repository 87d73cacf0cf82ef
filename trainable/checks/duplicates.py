"""Pictures that occur twice: the same pixels, or the same scene re-encoded, resized, brighter, trimmed or mirrored."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from trainable.data.dataset import Pixels

Plane = npt.NDArray[np.float32]
Where = npt.NDArray[np.bool_]

THUMBNAIL = 64
COARSE = 8
BLOCK = 512

# Measured on 454 photographs and on copies of them (JPEG of quality 40, half size, brightness +-15 %, contrast +30 %,
# trimmed by up to 6 %, mirrored). Coarsely, 99 in 100 copies correlate above 0.93, and so do few of the 200,000 pairs
# of different pictures; in detail, once aligned, copies score above 0.69 and the most similar different pictures 0.13,
# even with the same black frame drawn over all of them. The first threshold saves time, the second decides.
CANDIDATE = 0.90
SAME = 0.50

# How many a picture is compared with in detail: sets of look-alikes (scans, frames of a film) must not cost N x N.
NEAREST = 8
# The variance, in grey levels squared, below which there is only noise of encoding and rounding to compare.
VISIBLE = 1.0
# Pictures needed before what they have in common can be told from chance.
ENOUGH_FOR_A_FRAME = 32


@dataclass(frozen=True)
class Duplicate:
    """Two pictures by their position in the order given, ``first`` below ``second``."""

    first: int
    second: int
    exact: bool
    mirrored: bool = False


Pair = tuple[int, int, bool]


def digest(pixels: Pixels) -> str:
    """Equal for equal decoded pixels, whatever the file format."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def thumbnail(pixels: Pixels) -> Pixels:
    """All that is kept of a picture to compare it with others: 4 KB of grey, its proportions given up."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), np.uint8)


def find_duplicates(digests: Sequence[str], thumbnails: Sequence[Pixels]) -> list[Duplicate]:
    """As many pairs as tie each group of equal pictures together, and no more: k copies are k - 1 pairs."""
    first_seen: dict[str, int] = {}
    found = [
        Duplicate(first, k, exact=True)
        for k, value in enumerate(digests)
        if (first := first_seen.setdefault(value, k)) != k
    ]
    distinct = list(first_seen.values())
    if len(distinct) > 1:
        near = _near(np.stack([thumbnails[k] for k in distinct]))
        found += [Duplicate(distinct[i], distinct[j], exact=False, mirrored=mirrored) for i, j, mirrored in near]
    return sorted(found, key=lambda pair: (pair.second, pair.first))


def _near(thumbnails: Pixels) -> list[Pair]:
    candidates = sorted(set(_candidates(thumbnails)))
    telling = _telling(thumbnails)

    def score(pair: Pair) -> float:
        a, b = thumbnails[pair[0]], thumbnails[pair[1]]
        return likeness(a, b[:, ::-1] if pair[2] else b, telling)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        scores = list(pool.map(score, candidates))
    same = sorted((-value, pair) for value, pair in zip(scores, candidates, strict=True) if value >= SAME)
    return _spanning([pair for _, pair in same], len(thumbnails))


def _candidates(thumbnails: Pixels) -> Iterator[Pair]:
    """For every picture the few that resemble it most at 8 x 8, mirrored or not; memory holds one block of rows."""
    features, mirrored = _coarse(thumbnails), _coarse(thumbnails[:, :, ::-1])
    count = len(features)
    nearest = min(NEAREST, 2 * count)
    for start in range(0, count, BLOCK):
        rows = np.arange(start, min(start + BLOCK, count))
        alike = np.concatenate([features[rows] @ features.T, features[rows] @ mirrored.T], axis=1)
        alike[rows - start, rows] = alike[rows - start, rows + count] = -1
        best = np.argpartition(alike, -nearest, axis=1)[:, -nearest:]
        for row, column in zip(*np.nonzero(np.take_along_axis(alike, best, 1) >= CANDIDATE), strict=True):
            i, (flipped, j) = int(rows[row]), divmod(int(best[row, column]), count)
            yield min(i, j), max(i, j), bool(flipped)


def _coarse(thumbnails: Pixels) -> Plane:
    """Unit vectors, so that a product of two is their correlation; flat pictures are null, and resemble nothing."""
    step = THUMBNAIL // COARSE
    cells = thumbnails.reshape(-1, COARSE, step, COARSE, step).mean((2, 4), dtype=np.float32).reshape(-1, COARSE**2)
    cells -= cells.mean(1, keepdims=True)
    coarse: Plane = cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-6)
    return coarse


def likeness(a: Pixels, b: Pixels, telling: Where) -> float:
    """How well the details of two thumbnails agree, as they lie or after one is moved and scaled onto the other."""
    first, second = a.astype(np.float32), b.astype(np.float32)
    as_they_lie = _agreement(first, second, telling)
    try:
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-3)
        start = np.eye(2, 3, dtype=np.float32)
        _, warp = cv2.findTransformECC(first, second, start, cv2.MOTION_AFFINE, criteria, None, 3)
    except cv2.error:  # it finds no alignment: what is said of pictures that have little in common
        return as_they_lie
    inverse = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(second, warp, (THUMBNAIL, THUMBNAIL), flags=inverse, borderMode=cv2.BORDER_REPLICATE)
    covered = cv2.warpAffine(np.ones_like(second), warp, (THUMBNAIL, THUMBNAIL), flags=inverse)
    inside = cv2.erode(covered, np.ones((5, 5)), borderValue=1) > 0.99
    # A copy is trimmed a little; where little is left to compare, the alignment has only found two similar patches.
    return max(as_they_lie, _agreement(first, moved, telling & inside)) if inside.mean() > 0.6 else as_they_lie


def _agreement(a: Plane, b: Plane, where: Where) -> float:
    """The lower quartile of local correlations: copies agree nearly everywhere, others here and there by chance.

    One correlation over the whole would be ruled by the strongest edges, so that two pictures with the same
    letterbox bars or the same bright sign would pass for copies.
    """
    details_a, details_b = _details(a), _details(b)
    energy_a, energy_b = _local(details_a**2), _local(details_b**2)
    usable = where & (np.maximum(energy_a, energy_b) > VISIBLE)
    if usable.mean() < 0.1:
        return 0.0
    correlation = _local(details_a * details_b) / np.sqrt(energy_a * energy_b + 1e-6)
    return float(np.quantile(correlation[usable], 0.25))


def _telling(thumbnails: Pixels) -> Where:
    """Where pictures differ at all: what all share (letterbox bars, the rim of an endoscope) says nothing of two."""
    everywhere = np.ones((THUMBNAIL, THUMBNAIL), np.bool_)
    if len(thumbnails) < ENOUGH_FOR_A_FRAME:
        return everywhere
    mean, energy = np.zeros((2, THUMBNAIL, THUMBNAIL), np.float32)
    for one in thumbnails:
        details = _details(one.astype(np.float32))
        mean += details / len(thumbnails)
        energy += details**2 / len(thumbnails)
    telling: Where = _local(mean**2) < 0.1 * _local(energy)
    return telling


def _details(plane: Plane) -> Plane:
    return plane - _blurred(plane, 2)


def _local(plane: Plane) -> Plane:
    return _blurred(plane, 3)


def _blurred(plane: Plane, sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)


def _spanning(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """The first pairs that tie together what all of them do."""
    group = list(range(count))

    def root(k: int) -> int:
        while group[k] != k:
            group[k] = group[group[k]]
            k = group[k]
        return k

    tied: list[Pair] = []
    for i, j, mirrored in pairs:
        if root(i) != root(j):
            group[root(j)] = root(i)
            tied.append((i, j, mirrored))
    return tied
