"""Synthetic scribbles of several classes: never false, one for each structure, real ones where nothing can be drawn."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.data.scribbles import STROKES, Strokes
from trainable.data.synthetic.class_scribbles import synthetic_class_scribble

Pixels = npt.NDArray[np.uint8]
IGNORED = 15


def blank(height: int = 224, width: int = 256) -> Pixels:
    return np.zeros((height, width), np.uint8)


def heart() -> Pixels:
    """A ring (1) around a core (2), and a neighbour (3) that touches the ring."""
    mask = blank()
    for label, centre, radius in ((3, (165, 112), 30), (1, (115, 112), 36), (2, (115, 112), 24)):
        cv2.circle(mask, centre, radius, label, -1)
    return mask


def draw(mask: Pixels, scribble: Pixels, seed: int = 0, classes: int = 4, strokes: Strokes = STROKES) -> Pixels:
    return synthetic_class_scribble(mask, scribble, np.random.default_rng(seed), classes, strokes)


def pieces(drawn: npt.NDArray[np.bool_]) -> int:
    return int(cv2.connectedComponents(drawn.astype(np.uint8))[0]) - 1


@st.composite
def masks_and_scribbles(draw_from: st.DrawFn) -> tuple[Pixels, Pixels, int]:
    """Patches of any class in any arrangement, some ignored; the scribbles may even be false."""
    height, width = draw_from(st.integers(1, 80)), draw_from(st.integers(1, 80))
    classes = draw_from(st.integers(2, 15))
    rng = np.random.default_rng(draw_from(st.integers(0, 2**32 - 1)))
    values = np.array([*range(classes), 0, 0, IGNORED], np.uint8)
    coarse = rng.choice(values, (draw_from(st.integers(1, 9)), draw_from(st.integers(1, 9))))
    mask = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)
    codes = draw_from(st.sampled_from([(0,), tuple(range(classes + 1))]))
    return mask, rng.choice(np.array(codes, np.uint8), (height, width)), classes


@settings(max_examples=300)
@given(
    masks_and_scribbles(),
    st.integers(0, 2**32 - 1),
    st.sampled_from([STROKES, Strokes(thickness=0.1, closing=0.3, minimum_area=0.0, margin=0.0, bend=2.0)]),
)
def test_no_pixel_ever_contradicts_the_mask(sample: tuple[Pixels, Pixels, int], seed: int, strokes: Strokes) -> None:
    mask, scribble, classes = sample
    before = mask.copy(), scribble.copy()
    drawn = draw(mask, scribble, seed, classes, strokes)
    assert drawn.shape == mask.shape and drawn.dtype == np.uint8
    assert np.array_equal(drawn[drawn > 0] - 1, mask[drawn > 0])
    assert not drawn[mask == IGNORED].any()
    assert np.array_equal(mask, before[0]) and np.array_equal(scribble, before[1])


@settings(max_examples=100)
@given(masks_and_scribbles(), st.integers(0, 2**32 - 1))
def test_real_scribbles_stay_where_nothing_can_be_drawn(sample: tuple[Pixels, Pixels, int], seed: int) -> None:
    mask, scribble, classes = sample
    drawn = draw(mask, scribble, seed, classes, Strokes(minimum_area=2.0))
    true = (scribble > 0) & (scribble - 1 == mask) & (mask > 0)
    assert np.array_equal(drawn > 1, true)
    assert np.array_equal(drawn[true], scribble[true])


def test_every_structure_gets_a_stroke_and_loses_its_real_one() -> None:
    mask = heart()
    for seed in range(20):
        drawn = draw(mask, mask + np.uint8(1), seed)
        assert set(np.unique(drawn)) == {0, 1, 2, 3, 4}
        for label in range(1, 4):
            assert pieces(drawn == label + 1) == 1, "one stroke, unbroken"
            assert 0.02 < (drawn[mask == label] > 0).mean() < 0.6


def test_a_stroke_follows_a_ring_and_leaves_it_open() -> None:
    mask = heart()
    for seed in range(20):
        rows, columns = np.nonzero(draw(mask, blank(), seed) == 2)
        turned = np.unique(np.round(np.degrees(np.arctan2(rows - 112, columns - 115)) / 5))
        assert 30 <= len(turned) <= 70, "of 72 directions about the centre"


def test_every_component_of_a_class_gets_a_stroke() -> None:
    mask = blank()
    mask[20:60, 20:80] = mask[120:180, 100:150] = 2
    for seed in range(10):
        assert pieces(draw(mask, blank(), seed) == 3) == 2


def test_a_small_component_keeps_its_real_scribble_and_a_large_one_does_not() -> None:
    mask = heart()
    mask[10:15, 10:15] = 2  # 25 of 57,344 pixels
    real = (mask == 2) * np.uint8(3)
    drawn = draw(mask, real)
    assert np.all(drawn[10:15, 10:15] == 3)
    assert (drawn == 3).sum() < 0.5 * (mask == 2).sum()


def test_a_background_stroke_keeps_away_from_every_structure_and_from_ignored_pixels() -> None:
    mask = heart()
    mask[60:70, 60:70] = IGNORED
    near = cv2.dilate((mask > 0).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    for seed in range(20):
        drawn = draw(mask, (mask == 0).astype(np.uint8), seed)
        assert 0 < (drawn == 1).mean() < 0.03
        assert not (drawn[near] == 1).any()


def test_without_room_around_the_structures_the_largest_free_area_gets_the_background_stroke() -> None:
    mask = blank()
    mask[[2, -3], :] = mask[:, [2, -3]] = 1
    mask[:, 60:64] = 2  # two free areas, the right one larger
    real = blank()
    real[100:105, 10:40] = 1
    drawn = draw(mask, real) == 1
    assert drawn[:, 64:].any() and not drawn[:, :64].any()


def test_real_background_stays_where_no_area_admits_a_stroke() -> None:
    mask = np.ones_like(blank())
    mask[100:102, 100:102] = 0
    real = np.ones_like(mask)
    assert np.array_equal(draw(mask, real) == 1, mask == 0)


def test_streams_decide_what_is_drawn() -> None:
    drawings = [draw(heart(), blank(), seed).tobytes() for seed in (*range(10), 0)]
    assert len(set(drawings)) == 10 and drawings[0] == drawings[-1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (64, 2)])
def test_an_image_without_room_is_left_as_it_is(shape: tuple[int, int]) -> None:
    mask = np.full(shape, 3, np.uint8)
    real = np.full(shape, 4, np.uint8)
    assert np.array_equal(draw(mask, real, strokes=Strokes(thickness=3.0)), real)
