"""Synthetic scribbles for any number of classes, for augmentation and synthetic data sets.

In memory, 0 is unlabelled and class + 1 is a scribble of that class, so pixels filled in by a warp carry no label.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from trainable.data.scribbles import (
    STROKES,
    Pixels,
    Points,
    Strokes,
    curve_across,
    curve_inside,
    draw_stroke,
    regions_around,
    square,
)

ANGLES = np.linspace(0, 2 * np.pi, 64, endpoint=False)
DIRECTIONS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
RADII = np.linspace(0, 1, 48)


def synthetic_class_scribble(
    mask: Pixels, scribble: Pixels, rng: np.random.Generator, classes: int, strokes: Strokes = STROKES
) -> Pixels:
    """Replace the strokes of every class by new ones; the original ones are kept where no stroke can be drawn.

    No pixel of the result contradicts the mask, and those that the mask ignores stay unlabelled.
    """
    drawn = np.zeros_like(scribble)
    for label in range(1, classes):
        _draw_structure(drawn, mask, scribble, label, rng, strokes)
    _draw_background(drawn, mask, scribble, rng, strokes)
    return drawn


def _draw_structure(
    drawn: Pixels, mask: Pixels, scribble: Pixels, label: int, rng: np.random.Generator, strokes: Strokes
) -> None:
    """A stroke inside each component of one class."""
    region = (mask == label).view(np.uint8)
    left, top, width, height = cv2.boundingRect(region)
    if not width:
        return
    reach = strokes.pixels(strokes.closing, mask.shape) // 2
    # With this border, closing gives the same result as on the whole image.
    window = (slice(max(0, top - reach), top + height + reach), slice(max(0, left - reach), left + width + reach))
    region, canvas = region[window], drawn[window]
    keep = (scribble[window] == label + 1).view(np.uint8) & region
    thickness = strokes.pixels(strokes.thickness, mask.shape)
    closed = cv2.morphologyEx(region, cv2.MORPH_CLOSE, square(reach))
    inner = cv2.erode(closed, square(thickness // 2))
    count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(closed, 8, cv2.CV_32S, cv2.CCL_GRANA)
    for number in range(1, count):
        left, top, width, height, area = stats[number].tolist()
        if area < strokes.minimum_area * mask.size:
            continue
        box = (slice(top, top + height), slice(left, left + width))
        component = (labels[box] == number).view(np.uint8)
        curve = _curve_in(component, inner[box], rng, strokes, 2 * thickness)
        if curve is None:
            continue
        if draw_stroke(canvas, curve + np.array([left, top]), thickness, label + 1, region):
            keep[box][component > 0] = 0
    canvas[keep > 0] = label + 1


def _draw_background(drawn: Pixels, mask: Pixels, scribble: Pixels, rng: np.random.Generator, strokes: Strokes) -> None:
    """A stroke around everything else if there is room, otherwise inside the largest free area."""
    thickness = strokes.pixels(strokes.thickness, mask.shape)
    free = (mask == 0).view(np.uint8)
    regions = regions_around(1 - free, strokes.pixels(strokes.margin, mask.shape), thickness)
    curve: Points | None
    if regions:
        areas = np.array([width * height for _, _, width, height in regions], float)
        curve = curve_across(regions[rng.choice(len(regions), p=areas / areas.sum())], rng, thickness)
    else:
        curve = _curve_in_largest_area(free, rng, strokes, thickness)
    if curve is None or not draw_stroke(drawn, curve, thickness, 1, free):
        drawn[((scribble == 1).view(np.uint8) & free) > 0] = 1


def _curve_in_largest_area(free: Pixels, rng: np.random.Generator, strokes: Strokes, thickness: int) -> Points | None:
    inner = cv2.erode(free, square(thickness // 2))
    count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(inner, 8, cv2.CV_32S, cv2.CCL_GRANA)
    if count < 2:
        return None
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return curve_inside((labels == largest).view(np.uint8), rng, strokes, 2 * thickness)


def _curve_in(
    component: Pixels, inner: Pixels, rng: np.random.Generator, strokes: Strokes, shortest: int
) -> Points | None:
    """Along the middle of rings and crescents, in which short chords alone would fit, and straight elsewhere."""
    moments = cv2.moments(component, binaryImage=True)
    centre = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    if not component[round(centre[1]), round(centre[0])]:
        curve = curve_around(component, centre, rng, shortest)
        if curve is not None:
            return curve
    curve = curve_inside(component & inner, rng, strokes, shortest)
    return curve_inside(component, rng, strokes, shortest) if curve is None else curve


def curve_around(area: Pixels, centre: Points, rng: np.random.Generator, shortest: float) -> Points | None:
    """Part of the longest arc about the centre that stays in the middle of the area; None if it is too short.

    The arc is never closed, because people leave a gap as well.
    """
    height, width = area.shape
    reach = float(np.hypot(*np.maximum(centre, (width, height) - centre)))
    rays = centre + reach * RADII[None, :, None] * DIRECTIONS[:, None]
    within = _values(area, rays)
    hits = within.sum(axis=1)
    middle = (within * RADII).sum(axis=1) / np.maximum(hits, 1) * reach
    points = centre + middle[:, None] * DIRECTIONS
    first, length = _longest_run((hits > 0) & (_values(area, points) > 0))
    if length == len(ANGLES):
        first = int(rng.integers(length))
    kept = round(length * rng.uniform(0.5, 0.9))
    first += int(rng.integers(length - kept + 1))
    curve: Points = points[(first + np.arange(kept)) % len(ANGLES)]
    long_enough = kept > 1 and float(np.hypot(*np.diff(curve, axis=0).T).sum()) >= shortest
    return curve if long_enough else None


def _values(area: Pixels, points: Points) -> Pixels:
    """The pixels nearest to the points (x, y), 0 outside the area's array."""
    nearest = np.rint(points).astype(np.intp)
    clipped = np.clip(nearest, 0, (area.shape[1] - 1, area.shape[0] - 1))
    values: Pixels = area[clipped[..., 1], clipped[..., 0]] * (clipped == nearest).all(axis=-1)
    return values


def _longest_run(flags: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Start and length of the longest run of true values on a circle."""
    if flags.all():
        return 0, len(flags)
    start = int(flags.argmin())
    turned = np.append(np.roll(flags, -start), False)
    edges = (1 + np.flatnonzero(turned[1:] != turned[:-1])).reshape(-1, 2)
    if not len(edges):
        return 0, 0
    lengths = edges[:, 1] - edges[:, 0]
    return start + int(edges[lengths.argmax(), 0]), int(lengths.max())
