"""Synthetic scribbles that resemble those of people, for augmentation and synthetic data sets."""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Box = tuple[int, int, int, int]

# In memory, a stroke of a class is its index plus 1, unlike in files, so that pixels filled in by a warp have none.
NO_STROKE, BACKGROUND_STROKE, FOREGROUND_STROKE = 0, 1, 2


@dataclass(frozen=True)
class Strokes:
    """The shape and placement of strokes; lengths are fractions of the square root of the image's area.

    The defaults imitate scribbles by people, 5 pixels wide at 500x375: slightly curved, and about as long as the
    square root of the marked area.
    """

    thickness: float = 0.0116
    bend: float = 0.2  # spread of the control point's distance from the chord, as a share of the chord
    candidates: int = 16  # random curves; the longest one that stays inside is drawn
    closing: float = 0.02  # gaps up to this width do not separate components
    minimum_area: float = 0.001  # components below this share of the image get no stroke
    margin: float = 0.02  # distance of a background stroke from the foreground's bounding box

    def pixels(self, length: float, shape: tuple[int, ...]) -> int:
        return max(1, round(length * math.sqrt(shape[0] * shape[1])))


STROKES = Strokes()
SAMPLES = np.linspace(0.0, 1.0, 48)


def synthetic_scribble(mask: Pixels, scribble: Pixels, rng: np.random.Generator, strokes: Strokes = STROKES) -> Pixels:
    """Replace the strokes by new ones; the original ones are kept where no stroke can be drawn.

    No pixel of the result contradicts the mask, although closing and thickness may cover its border.
    """
    drawn = np.full_like(scribble, NO_STROKE)
    _draw_foreground(drawn, mask, scribble, rng, strokes)
    _draw_background(drawn, mask, scribble, rng, strokes)
    return drawn


def _draw_foreground(drawn: Pixels, mask: Pixels, scribble: Pixels, rng: np.random.Generator, strokes: Strokes) -> None:
    thickness = strokes.pixels(strokes.thickness, mask.shape)
    # Squares: cv2 is several times faster with them than with discs.
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, square(strokes.pixels(strokes.closing, mask.shape) // 2))
    inner = cv2.erode(closed, square(thickness // 2))
    # The fastest algorithm without a limit on the number of components.
    count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(closed, 8, cv2.CV_32S, cv2.CCL_GRANA)
    keep = (scribble == FOREGROUND_STROKE).view(np.uint8) & mask
    for label in range(1, count):
        left, top, width, height, area = stats[label].tolist()
        if area < strokes.minimum_area * mask.size:
            continue
        window = (slice(top, top + height), slice(left, left + width))
        component = (labels[window] == label).view(np.uint8)
        curve = curve_inside(component & inner[window], rng, strokes, 2 * thickness)
        if curve is None:
            curve = curve_inside(component, rng, strokes, 2 * thickness)
        if curve is None:
            continue
        if draw_stroke(drawn, curve + np.array([left, top]), thickness, FOREGROUND_STROKE, mask):
            keep[window][component > 0] = 0
    drawn[keep > 0] = FOREGROUND_STROKE


def _draw_background(drawn: Pixels, mask: Pixels, scribble: Pixels, rng: np.random.Generator, strokes: Strokes) -> None:
    thickness = strokes.pixels(strokes.thickness, mask.shape)
    regions = regions_around(mask, strokes.pixels(strokes.margin, mask.shape), thickness)
    outside = 1 - mask
    if regions:
        areas = np.array([width * height for _, _, width, height in regions], float)
        region = regions[rng.choice(len(regions), p=areas / areas.sum())]
        if draw_stroke(drawn, curve_across(region, rng, thickness), thickness, BACKGROUND_STROKE, outside):
            return
    drawn[((scribble == BACKGROUND_STROKE).view(np.uint8) & outside) > 0] = BACKGROUND_STROKE


def regions_around(mask: Pixels, margin: int, narrowest: int) -> list[Box]:
    """Left, top, width and height of the regions above, below, left and right of the foreground's bounding box.

    The box of an empty mask is a corner of the image. Regions narrower than the limit are left out.
    """
    height, width = mask.shape
    left, top, box_width, box_height = cv2.boundingRect(mask)
    right, bottom = left + box_width + margin, top + box_height + margin
    regions = (
        (0, 0, width, top - margin),
        (0, bottom, width, height - bottom),
        (0, 0, left - margin, height),
        (right, 0, width - right, height),
    )
    return [region for region in regions if min(region[2:]) >= narrowest]


def curve_inside(area: Pixels, rng: np.random.Generator, strokes: Strokes, shortest: float) -> Points | None:
    """The longest of a few random curves (x, y) that lie entirely inside, or None if all are too short."""
    if not area.any():
        return None
    inside = cv2.findNonZero(area).reshape(-1, 2)
    start, end = inside[rng.integers(len(inside), size=(2, strokes.candidates))].astype(np.float64)
    chord = end - start
    bends = rng.normal(0.0, strokes.bend, (strokes.candidates, 1))
    curves = bezier(start, (start + end) / 2 + bends * chord[:, ::-1] * (1, -1), end)
    nearest = np.rint(curves).astype(np.intp)
    visible = np.clip(nearest, 0, (area.shape[1] - 1, area.shape[0] - 1))
    stays = (area[visible[..., 1], visible[..., 0]] > 0) & (visible == nearest).all(axis=-1)
    lengths = np.hypot(chord[:, 0], chord[:, 1]) * stays.all(axis=1)
    best = int(lengths.argmax())
    return curves[best] if lengths[best] >= shortest else None


def curve_across(region: Box, rng: np.random.Generator, thickness: int) -> Points:
    """A curve along the longer side of a region, far enough from its border for the whole stroke to fit."""
    left, top, width, height = region
    along = np.array([rng.uniform(0.0, 0.35), rng.uniform(0.3, 0.7), rng.uniform(0.65, 1.0)])
    across = rng.random(3)
    points = np.stack([along, across] if width >= height else [across, along], axis=-1)
    room = np.maximum(0, np.array([width, height]) - 1 - thickness)
    start, control, end = points * room + (left, top) + thickness / 2
    curve: Points = bezier(start[None], control[None], end[None])[0]
    return curve


def bezier(start: Points, control: Points, end: Points) -> Points:
    """Points along many quadratic curves at once; a curve never leaves the triangle of its three points."""
    t = SAMPLES[:, None]
    curves: Points = (1 - t) ** 2 * start[:, None] + 2 * t * (1 - t) * control[:, None] + t**2 * end[:, None]
    return curves


def draw_stroke(canvas: Pixels, curve: Points, thickness: int, label: int, allowed: Pixels) -> bool:
    """Draw within the allowed pixels; return whether anything was drawn."""
    height, width = canvas.shape
    low = np.clip(np.floor(curve.min(axis=0)).astype(int) - thickness, 0, None)
    high = np.minimum(np.ceil(curve.max(axis=0)).astype(int) + thickness + 1, (width, height))
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    line = np.zeros(canvas[window].shape, np.uint8)
    # cv2 only draws odd widths, and wider than requested; a dilated hairline has the right width.
    cv2.polylines(line, [np.rint(curve - low).astype(np.int32)], False, 1)
    line = cv2.dilate(line, disc(thickness)) & allowed[window]
    canvas[window][line > 0] = label
    return bool(line.any())


@lru_cache
def disc(diameter: int) -> Pixels:
    offsets = np.arange(diameter) - (diameter - 1) / 2
    inside: npt.NDArray[np.bool_] = np.hypot(offsets, offsets[:, None]) <= diameter / 2
    return inside.astype(np.uint8)


def square(reach: int) -> Pixels:
    """The sides are always odd: an even kernel shifts the mask by a pixel."""
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
