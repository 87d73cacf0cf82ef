"""Duplicate images: the same pixels, or the same scene re-encoded, resized, brightened, cropped or mirrored."""

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

# Measured on 454 photographs and copies of them (JPEG of quality 40, half size, brightness +-15 %, contrast +30 %,
# cropped by up to 6 %, mirrored). At 8 x 8, 99 % of the copies correlate above 0.93, and few of the 200,000 pairs of
# different images do; after alignment, copies score above 0.69 and the most similar different images 0.13, even with
# the same black frame drawn over all of them. The first threshold saves time, the second decides.
CANDIDATE = 0.90
SAME = 0.50

# Detailed comparisons per image: sets of similar images (scans, video frames) must not cost N x N.
NEAREST = 8
# The variance, in squared grey levels, below which only noise of encoding and rounding is left to compare.
VISIBLE = 1.0
# Images needed to separate what they share from chance.
ENOUGH_FOR_A_FRAME = 32


@dataclass(frozen=True)
class Duplicate:
    """Two images by their index, ``first`` below ``second``."""

    first: int
    second: int
    exact: bool
    mirrored: bool = False


Pair = tuple[int, int, bool]


def digest(pixels: Pixels) -> str:
    """Equal for equal decoded pixels, whatever the file format."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def thumbnail(pixels: Pixels) -> Pixels:
    """A square grey thumbnail of 4 KB, all that is kept of an image for comparison."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), np.uint8)


def find_duplicates(digests: Sequence[str], thumbnails: Sequence[Pixels]) -> list[Duplicate]:
    """A spanning set of pairs: k copies give k - 1 pairs."""
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
    """The most similar images at 8 x 8 for every image, mirrored or not, computed block by block to bound memory."""
    features, mirrored = _coarse(thumbnails), _coarse(thumbnails[:, :, ::-1])
    count = len(features)
    nearest = min(NEAREST, 2 * count)
    for start in range(0, count, BLOCK):
        rows = np.arange(start, min(start + BLOCK, count))
        similarity = np.concatenate([features[rows] @ features.T, features[rows] @ mirrored.T], axis=1)
        similarity[rows - start, rows] = similarity[rows - start, rows + count] = -1
        best = np.argpartition(similarity, -nearest, axis=1)[:, -nearest:]
        for row, column in zip(*np.nonzero(np.take_along_axis(similarity, best, 1) >= CANDIDATE), strict=True):
            i, (flipped, j) = int(rows[row]), divmod(int(best[row, column]), count)
            yield min(i, j), max(i, j), bool(flipped)


def _coarse(thumbnails: Pixels) -> Plane:
    """Unit vectors, whose products are correlations; uniform images become zero and match nothing."""
    step = THUMBNAIL // COARSE
    cells = thumbnails.reshape(-1, COARSE, step, COARSE, step).mean((2, 4), dtype=np.float32).reshape(-1, COARSE**2)
    cells -= cells.mean(1, keepdims=True)
    coarse: Plane = cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-6)
    return coarse


def likeness(a: Pixels, b: Pixels, telling: Where) -> float:
    """The agreement of two thumbnails in detail, directly or after aligning one with the other."""
    first, second = a.astype(np.float32), b.astype(np.float32)
    as_they_lie = _agreement(first, second, telling)
    try:
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-3)
        start = np.eye(2, 3, dtype=np.float32)
        _, warp = cv2.findTransformECC(first, second, start, cv2.MOTION_AFFINE, criteria, None, 3)
    except cv2.error:  # no alignment was found: the images have little in common
        return as_they_lie
    inverse = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(second, warp, (THUMBNAIL, THUMBNAIL), flags=inverse, borderMode=cv2.BORDER_REPLICATE)
    covered = cv2.warpAffine(np.ones_like(second), warp, (THUMBNAIL, THUMBNAIL), flags=inverse)
    inside = cv2.erode(covered, np.ones((5, 5)), borderValue=1) > 0.99
    # A copy is cropped a little; a small overlap only means that two patches are similar.
    return max(as_they_lie, _agreement(first, moved, telling & inside)) if inside.mean() > 0.6 else as_they_lie


def _agreement(a: Plane, b: Plane, where: Where) -> float:
    """The lower quartile of local correlations: copies agree nearly everywhere, other images in places by chance.

    One correlation over the whole image would be dominated by the strongest edges: two images with the same
    letterbox bars or the same bright sign would count as copies.
    """
    details_a, details_b = _details(a), _details(b)
    energy_a, energy_b = _local(details_a**2), _local(details_b**2)
    usable = where & (np.maximum(energy_a, energy_b) > VISIBLE)
    if usable.mean() < 0.1:
        return 0.0
    correlation = _local(details_a * details_b) / np.sqrt(energy_a * energy_b + 1e-6)
    return float(np.quantile(correlation[usable], 0.25))


def _telling(thumbnails: Pixels) -> Where:
    """The pixels in which images differ: what all share (such as letterbox bars) is no evidence."""
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
    """The first pairs that connect everything that all pairs connect."""
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
