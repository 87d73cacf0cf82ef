"""Synthetic scenes of textured objects in which only the scribbles show which objects are foreground."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from trainable.data import scribbles
from trainable.data.scribbles import STROKES, Pixels, Points

Floats = npt.NDArray[np.float32]
Rng = np.random.Generator

SHARE = (0.05, 0.6)
HAND = replace(STROKES, candidates=8)
SHAPES = ("ellipse", "polygon", "blob", "star")
PATTERNS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "plain": lambda u, v, noise: 2 * noise - 1,
    "stripes": lambda u, v, noise: np.sin(u),
    "checks": lambda u, v, noise: 2 * np.sin(u) * np.sin(v),
    "dots": lambda u, v, noise: np.cos(u) + np.cos(v) - 0.8,
    "mottled": lambda u, v, noise: 9 * (noise - 0.5),
}


@dataclass(frozen=True)
class Kind:
    """What objects of one kind have in common."""

    shape: str
    pattern: str
    colours: Points  # two, in CIELAB, where distances are perceptual
    period: float  # of the pattern, as a fraction of the square root of the image's area


@dataclass(frozen=True)
class Thing:
    """One object; its region includes what nearer objects hide."""

    kind: Kind
    foreground: bool
    region: Pixels
    centre: Points
    radius: float


def make_sample(rng: Rng, width: int, height: int) -> tuple[Pixels, Pixels, Pixels]:
    """Image, scribble and mask: layouts are drawn until one can be scribbled on, and that one is painted."""
    share = SHARE[0] + (SHARE[1] - SHARE[0]) * rng.beta(1.1, 2.2)
    while True:
        ground = _colour(rng)
        things = _lay_out(rng, share, ground, width, height)
        ids = np.zeros((height, width), np.uint8)
        for number, thing in enumerate(things, start=1):
            ids[thing.region > 0] = number
        scribble = _scribble(rng, things, share, ids)
        if scribble is not None:
            mask = np.array([0, *(thing.foreground for thing in things)], np.uint8)[ids]
            return _paint(rng, things, ground, width, height), scribble, mask


def _lay_out(rng: Rng, share: float, ground: Points, width: int, height: int) -> list[Thing]:
    """Objects from far to near; at least one background object is of the same kind as a foreground object."""
    kinds = [_kind(rng, ground) for _ in range(rng.integers(2, 4))]
    wanted, others = int(rng.integers(1, 4)), int(rng.integers(2, 5))
    sizes = [*(rng.dirichlet(np.full(wanted, 4.0)) * share * 1.2), *rng.uniform(0.02, 0.13, others)]
    chosen = rng.integers(len(kinds), size=len(sizes))
    chosen[wanted] = chosen[0]
    things: list[Thing] = []
    for k, size in enumerate(sizes):
        tries = rng.uniform(0.08, 0.92, (6, 2)) * (width, height)
        gaps = [min((math.dist(place, thing.centre) for thing in things), default=0.0) for place in tries]
        # Stretched with the image, so that it fits any aspect ratio.
        outline = random_outline(rng, kinds[chosen[k]].shape) * math.sqrt(size) * (width, height)
        centre = tries[int(np.argmax(gaps))]
        region = np.zeros((height, width), np.uint8)
        cv2.fillPoly(region, [np.rint((outline + centre) * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
        radius = math.sqrt(size * width * height / math.pi)
        things.append(Thing(kinds[chosen[k]], k < wanted, region, centre, radius))
    return [things[k] for k in rng.permutation(len(things))]


def _colour(rng: Rng) -> Points:
    return rng.uniform((28, -45, -45), (88, 45, 45))


def _rgb(lab: Points) -> Floats:
    clipped = np.clip(lab, (8, -80, -80), (96, 80, 80)).astype(np.float32)
    return np.asarray(cv2.cvtColor(clipped.reshape(1, 1, 3), cv2.COLOR_LAB2RGB).reshape(3) * 255, np.float32)


def _kind(rng: Rng, ground: Points) -> Kind:
    first = _colour(rng)
    while math.dist(first, ground) < 25:
        first = _colour(rng)
    colours = np.stack([first, rng.normal(first, 20)])
    return Kind(str(rng.choice(SHAPES)), str(rng.choice(list(PATTERNS))), colours, rng.uniform(0.03, 0.09))


def random_outline(rng: Rng, shape: str) -> Points:
    """A closed outline around the origin, of area 1."""
    count = {"polygon": int(rng.integers(3, 7)), "star": 2 * int(rng.integers(4, 8))}.get(shape, 72)
    angles = 2 * np.pi * np.arange(count) / count
    radii = np.ones(count)
    if shape == "blob":
        for wave in range(2, 6):
            radii += rng.normal(0, 0.4 / wave) * np.cos(wave * angles + rng.uniform(0, 2 * np.pi))
    elif shape != "ellipse":
        angles += rng.uniform(-0.3, 0.3, count) * (2 * np.pi / count)
        radii = rng.uniform(0.8, 1.1, count)
        radii[1::2] *= 0.55 if shape == "star" else 1
    radii = np.maximum(radii, 0.35)
    points = np.stack([np.cos(angles), rng.uniform(0.5, 1.0) * np.sin(angles)], axis=1) * radii[:, None]
    turn = rng.uniform(0, 2 * np.pi)
    points = points @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return np.asarray(points / math.sqrt(cv2.contourArea(points.astype(np.float32))))


def _scribble(rng: Rng, things: list[Thing], share: float, ids: Pixels) -> Pixels | None:
    """A stroke in each foreground object, one or two on the background; None if there is no room for one."""
    visible = np.bincount(ids.ravel(), minlength=len(things) + 1)
    wanted = [number for number, thing in enumerate(things, start=1) if thing.foreground]
    hidden = any(visible[n] < 0.5 * np.pi * thing.radius**2 for n, thing in enumerate(things, start=1))
    if hidden or not max(SHARE[0], 0.85 * share) <= visible[wanted].sum() / ids.size <= SHARE[1]:
        return None
    regions = [((ids == number).astype(np.uint8), scribbles.FOREGROUND_STROKE) for number in wanted]
    if any(cv2.connectedComponents(region)[0] != 2 for region, _ in regions):
        return None
    outside = np.isin(ids, wanted, invert=True).astype(np.uint8)
    regions += [(outside, scribbles.BACKGROUND_STROKE)] * int(rng.choice([1, 2], p=[0.8, 0.2]))
    thickness = HAND.pixels(HAND.thickness, ids.shape)
    drawn = np.full_like(ids, scribbles.NO_STROKE)
    for region, label in regions:
        # People keep away from edges, including those of the image.
        inner = cv2.erode(region, scribbles.square(thickness), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        shortest = thickness * (3 if label == scribbles.FOREGROUND_STROKE else 15)
        curve = scribbles.curve_inside(inner, rng, HAND, shortest)
        if curve is None:
            return None
        scribbles.draw_stroke(drawn, curve, thickness, label, region)
    return drawn


def _paint(rng: Rng, things: list[Thing], ground: Points, width: int, height: int) -> Pixels:
    """Ground, then objects from far to near, then camera noise."""
    side = math.sqrt(width * height)
    angle = rng.uniform(0, 2 * np.pi)
    light = (math.cos(angle), math.sin(angle))
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    canvas = draw_ground(rng, ground, x, y, side)
    for thing in things:
        left, top, box_width, box_height = cv2.boundingRect(thing.region)
        reach = math.ceil(0.06 * side)
        rows = slice(max(0, top - reach), top + box_height + reach)
        columns = slice(max(0, left - reach), left + box_width + reach)
        dx, dy = (x[rows, columns] - thing.centre[0]), (y[rows, columns] - thing.centre[1])
        _put(rng, canvas[rows, columns], thing, thing.region[rows, columns], dx, dy, light, side)
    return photograph(rng, canvas, x, y, light)


def photograph(rng: Rng, canvas: Floats, x: Floats, y: Floats, light: tuple[float, float]) -> Pixels:
    """Uneven light, a slight blur and camera noise."""
    height, width = x.shape
    slope = (x / width - 0.5) * light[0] + (y / height - 0.5) * light[1]
    canvas *= 1 + rng.uniform(0, 0.25) * slope[..., None]
    canvas = cv2.GaussianBlur(canvas, (0, 0), 0.3 + rng.uniform(0, 0.0015) * math.sqrt(width * height))
    canvas += rng.uniform(2, 9) * rng.standard_normal(canvas.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(canvas), 0, 255), np.uint8)


def draw_ground(rng: Rng, colour: Points, x: Floats, y: Floats, side: float) -> Floats:
    """One texture, or two that meet at a wavy horizon."""
    patches = _noise(rng, x.shape, rng.uniform(0.1, 0.4) * side)[..., None]
    canvas = _rgb(colour) + patches * (_rgb(rng.normal(colour, 14)) - _rgb(colour))
    if rng.random() < 0.5:
        waves = 0.1 * np.sin(x / side * rng.uniform(2, 9) + rng.uniform(0, 6))
        below = 1 / (1 + np.exp((rng.uniform(0.25, 0.75) + waves - y / y.max()) * 60))
        canvas += below[..., None] * (_rgb(rng.normal(colour, 18)) - _rgb(colour))
    grain = _noise(rng, x.shape, 0.03 * side) - 0.5
    return np.asarray(canvas + rng.uniform(8, 40) * grain[..., None], np.float32)


def _put(
    rng: Rng,
    canvas: Floats,
    thing: Thing,
    region: Pixels,
    x: Floats,
    y: Floats,
    light: tuple[float, float],
    side: float,
) -> None:
    """One object, shaded, and its shadow; x and y are distances from its centre."""
    depth = cv2.distanceTransform(region, cv2.DIST_L2, 3) / thing.radius
    slope = (x * light[0] + y * light[1]) / thing.radius
    shade = rng.uniform(0.85, 1.15) * (0.72 + 0.28 * np.minimum(1, depth / 0.3)) * (1 + 0.16 * slope)
    soft = cv2.GaussianBlur(region.astype(np.float32), (0, 0), 0.0015 * side + 0.3)
    away = np.array([[1, 0, -0.02 * side * light[0]], [0, 1, -0.02 * side * light[1]]])
    shadow = cv2.GaussianBlur(cv2.warpAffine(soft, away, soft.shape[::-1]), (0, 0), 0.012 * side)
    canvas *= 1 - rng.uniform(0.2, 0.5) * shadow[..., None]
    canvas += soft[..., None] * (surface(rng, thing.kind, x / side, y / side, side) * shade[..., None] - canvas)


def surface(rng: Rng, kind: Kind, x: Floats, y: Floats, side: float) -> Floats:
    """The pattern of the kind, rotated and tinted for this object."""
    turn, wave = rng.uniform(0, np.pi), 2 * np.pi / kind.period
    u = wave * (x * math.cos(turn) + y * math.sin(turn))
    v = wave * (y * math.cos(turn) - x * math.sin(turn))
    noise = _noise(rng, x.shape, 0.06 * side)
    mix = (0.8 + 0.4 * noise) / (1 + np.exp(-3 * PATTERNS[kind.pattern](u, v, noise)))
    first, second = (_rgb(rng.normal(colour, 2.5)) for colour in kind.colours)
    return np.asarray(first + mix[..., None] * (second - first), np.float32)


def _noise(rng: Rng, shape: tuple[int, ...], cell: float) -> Floats:
    """Smooth random values from 0 to 1 in three octaves; the coarsest has cells of this many pixels."""
    height, width = shape
    total = np.zeros((height, width), np.float32)
    for octave in range(3):
        size = max(1.0, cell / 2**octave)
        grid = rng.random((math.ceil(height / size) + 1, math.ceil(width / size) + 1), dtype=np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return np.asarray((total - total.min()) / max(float(np.ptp(total)), 1e-6), np.float32)
