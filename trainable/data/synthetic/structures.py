"""Synthetic slices of touching and nested structures of several classes, each with an appearance of its own.

The classes form clusters of three: a ring, the core inside it and a neighbour that touches the ring. A body is a
three-dimensional arrangement of clusters, and an image is one of its slices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from trainable.data.scribbles import STROKES, Pixels, Points, disc
from trainable.data.synthetic import scenes
from trainable.data.synthetic.class_scribbles import synthetic_class_scribble
from trainable.data.synthetic.scenes import PATTERNS, Floats, Kind, Rng

CLASSES = (2, 15)
NAMES = (
    *("background", "ring", "core", "crescent", "shell", "kernel", "lobe", "husk"),
    *("pith", "wing", "hull", "stone", "fin", "rind", "seed"),
)
CLUSTER = 3  # classes
HAND = replace(STROKES, candidates=8)
SMALLEST = 0.02  # radius of a visible structure, as a fraction of the square root of the image's area
TURNS = np.linspace(0, 2 * np.pi, 72, endpoint=False)


def class_names(classes: int) -> tuple[str, ...]:
    return NAMES[:classes] if classes > CLASSES[0] else ("background", "foreground")


@dataclass(frozen=True)
class Span:
    """The depths between which a structure is visible; depths go from 0 to 1."""

    low: float
    high: float

    def size(self, depth: float) -> float:
        """From 0 at both ends to 1 in the middle."""
        offset = (2 * depth - self.low - self.high) / (self.high - self.low)
        return math.sqrt(max(0.0, 1 - offset * offset))

    def part(self, rng: Rng, shortest: float, longest: float) -> Span:
        length = rng.uniform(shortest, longest) * (self.high - self.low)
        low = rng.uniform(self.low, self.high - length)
        return Span(low, low + length)


@dataclass(frozen=True)
class Cluster:
    """A ring, its core and its neighbour; lengths are in pixels."""

    first: int  # class of the ring
    members: int
    centre: Points
    drift: Points  # from the first slice to the last
    radius: float
    hole: float  # the core's size, as a share of the ring's
    side: float  # angle of the neighbour
    turn: float  # from the first slice to the last
    outlines: tuple[Points, Points]  # of the ring and its neighbour, around the origin, of radius about 1
    spans: tuple[Span, Span, Span]


@dataclass(frozen=True)
class Body:
    """Everything that the slices of one volume have in common."""

    clusters: tuple[Cluster, ...]
    ground: Points
    distractors: tuple[tuple[Kind, Points], ...]  # appearance and outline
    textures: int  # seed of the textures, which stay the same from slice to slice


def make_slices(
    rng: Rng, slices: int, classes: int, width: int, height: int, grey: bool
) -> Iterator[tuple[Pixels, Pixels, Pixels]]:
    """Image, scribble (class + 1, or 0 for unlabelled) and mask of each slice of one body."""
    body = _random_body(rng, _visible_depths(rng, slices), classes, width, height)
    depths = [(number + 0.5) / slices for number in range(slices)] if slices > 1 else [rng.uniform(0.05, 0.95)]
    for depth in depths:
        mask = _mask(body, depth, width, height)
        scribble = synthetic_class_scribble(mask, _dots(mask, classes), rng, classes, HAND)
        image = _paint(rng, body, mask)
        yield (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if grey else image), scribble, mask


def _visible_depths(rng: Rng, slices: int) -> Span:
    """Sometimes without the first and last slices, so that about a tenth of all slices show no structure."""
    hidden = max(1, round(slices / 10)) / slices
    if slices >= 5 and rng.random() < 0.05 * min(slices, 10):
        return Span(hidden, 1 - hidden)
    return Span(-0.3, 1.3)


def _random_body(rng: Rng, visible: Span, classes: int, width: int, height: int) -> Body:
    starts = range(1, classes, CLUSTER)
    columns = min(len(starts), max(1, round(math.sqrt(len(starts) * width / height))))
    rows = math.ceil(len(starts) / columns)
    cell = np.array([width / columns, height / rows])
    chosen = rng.permutation(columns * rows)[: len(starts)]
    main = int(rng.integers(len(starts)))  # the one that is visible wherever anything is
    clusters = tuple(
        _random_cluster(
            rng,
            first,
            min(CLUSTER, classes - first),
            (np.array([place % columns, place // columns]) + 0.5) * cell,
            cell,
            visible,
            visible if number == main else visible.part(rng, 0.45, 0.85),
        )
        for number, (first, place) in enumerate(zip(starts, chosen.tolist(), strict=True))
    )
    ground = rng.uniform((30, -8, -8), (88, 8, 8))
    distractors = tuple(_distractor(rng, classes, width, height) for _ in range(rng.integers(2, 6)))
    return Body(clusters, ground, distractors, int(rng.integers(2**32)))


def _random_cluster(
    rng: Rng, first: int, members: int, middle: Points, cell: Points, visible: Span, span: Span
) -> Cluster:
    side = rng.uniform(0, 2 * np.pi)
    radius = rng.uniform(0.5, 0.68) * cell.min() / 2
    room = np.maximum(0, cell / 2 - 1.3 * radius)
    # With a neighbour, the ring moves aside, so that both of them fit into the cell.
    aside = 0.4 * radius * np.array([math.cos(side), math.sin(side)]) * (members == CLUSTER)
    return Cluster(
        first,
        members,
        middle + rng.uniform(-1, 1, 2) * room - aside,
        rng.normal(0, 0.12, 2) * radius,
        radius,
        rng.uniform(0.5, 0.68),
        side,
        rng.normal(0, 0.3),
        (_loop(rng), 0.75 * _loop(rng)),
        (span, span.part(rng, 0.55, 0.95), visible.part(rng, 0.5, 0.8)),
    )


def _loop(rng: Rng) -> Points:
    radii = np.ones_like(TURNS)
    for wave in range(2, 5):
        radii += rng.normal(0, 0.1 / wave) * np.cos(wave * TURNS + rng.uniform(0, 2 * np.pi))
    points = np.stack([np.cos(TURNS), rng.uniform(0.8, 1) * np.sin(TURNS)], axis=1)
    loop: Points = _turned(points * np.clip(radii, 0.8, 1.2)[:, None], rng.uniform(0, 2 * np.pi))
    return loop


def _turned(points: Points, angle: float) -> Points:
    turned: Points = points @ np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return turned


def _mask(body: Body, depth: float, width: int, height: int) -> Pixels:
    """Neighbours, then rings, then cores, so that no neighbour of another cluster lies on a ring."""
    mask = np.zeros((height, width), np.uint8)
    smallest = SMALLEST * math.sqrt(width * height)
    for member in (2, 0, 1):
        for cluster in body.clusters:
            outline, size = _outline(cluster, member, depth)
            if member < cluster.members and size >= smallest:
                _fill(mask, outline, cluster.first + member)
    return mask


def _fill(mask: Pixels, outline: Points, value: int) -> Pixels:
    cv2.fillPoly(mask, [np.rint(outline * 16).astype(np.int32)], value, cv2.LINE_8, 4)
    return mask


def _outline(cluster: Cluster, member: int, depth: float) -> tuple[Points, float]:
    """The outline of one structure at a depth, and its radius."""
    ring, core, beside = (cluster.radius * span.size(depth) for span in cluster.spans)
    size = (ring, min(core * cluster.hole, ring * 0.75), beside)[member]
    centre = cluster.centre + (depth - 0.5) * cluster.drift
    turn = (depth - 0.5) * cluster.turn
    if member == 2:
        away = cluster.side + turn
        centre = centre + (0.9 * ring + 0.35 * beside) * np.array([math.cos(away), math.sin(away)])
    outline: Points = centre + size * _turned(cluster.outlines[member == 2], turn)
    return outline, size


def _dots(mask: Pixels, classes: int) -> Pixels:
    """A dot at the deepest point of each class: what is left where there is no room for a stroke."""
    dots = np.zeros_like(mask)
    thickness = HAND.pixels(HAND.thickness, mask.shape)
    for label in range(classes):
        region = (mask == label).view(np.uint8)
        deepest = int(cv2.distanceTransform(np.pad(region, 1), cv2.DIST_L2, 3)[1:-1, 1:-1].argmax())
        dot = np.zeros_like(mask)
        dot.flat[deepest] = 1
        dots[(cv2.dilate(dot, disc(thickness)) & region) > 0] = label + 1
    return dots


def class_look(label: int) -> Kind:
    """Lightness, hue and pattern of a class, far from those of the others in its cluster."""
    lightness = 24 + 70 * (5 * (label - 1) % 14) / 13
    hue = 2.4 * label
    colour = np.array([lightness, 32 * math.cos(hue), 32 * math.sin(hue)])
    contrast = np.array([6.0, 0, 0])
    pattern = list(PATTERNS)[(label + label // 5) % len(PATTERNS)]
    return Kind("blob", pattern, np.stack([colour - contrast, colour + contrast]), 0.045)


def _distractor(rng: Rng, classes: int, width: int, height: int) -> tuple[Kind, Points]:
    """An object of the background, as light as some class but with another pattern and hardly any colour."""
    look = class_look(int(rng.integers(1, classes)))
    pattern = str(rng.choice([name for name in PATTERNS if name != look.pattern]))
    colours = look.colours * (1, 0, 0) + rng.normal(0, 4, 3)
    shape = str(rng.choice(["ellipse", "polygon", "blob"]))
    size = math.sqrt(rng.uniform(0.01, 0.05) * width * height)
    outline = size * scenes.random_outline(rng, shape) + rng.uniform(0, 1, 2) * (width, height)
    return Kind(shape, pattern, colours, rng.uniform(0.03, 0.09)), outline


def _paint(rng: Rng, body: Body, mask: Pixels) -> Pixels:
    """Ground, distractors, structures; each texture has its own stream, whatever else is visible."""
    height, width = mask.shape
    side = math.sqrt(width * height)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    canvas: Floats = scenes.draw_ground(np.random.default_rng(body.textures), body.ground, x, y, side)
    objects = enumerate(body.distractors)
    layers = [
        *(((0, number), kind, _fill(np.zeros_like(mask), outline, 1) > 0) for number, (kind, outline) in objects),
        *(((1, label), class_look(label), mask == label) for label in np.unique(mask[mask > 0]).tolist()),
    ]
    for stream, kind, inside in layers:
        texture_rng = np.random.default_rng((body.textures, *stream))
        canvas[inside] = scenes.surface(texture_rng, kind, x / side, y / side, side)[inside]
    angle = rng.uniform(0, 2 * np.pi)
    return scenes.photograph(rng, canvas, x, y, (math.cos(angle), math.sin(angle)))
