"""Synthetic scribbles: never false, as thick as real ones, and real ones where nothing can be drawn."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.data.scribbles import (
    BACKGROUND_STROKE,
    FOREGROUND_STROKE,
    NO_STROKE,
    STROKES,
    Strokes,
    regions_around,
    synthetic_scribble,
)

Pixels = npt.NDArray[np.uint8]


def blank(height: int = 375, width: int = 500) -> Pixels:
    return np.zeros((height, width), np.uint8)


def disc_mask(height: int = 375, width: int = 500, radius: int = 90) -> Pixels:
    mask = blank(height, width)
    cv2.circle(mask, (width // 2, height // 2), radius, 1, -1)
    return mask


def width_of(drawn: Pixels) -> float:
    """Of the widest place of what is drawn."""
    padded = np.pad(drawn.astype(np.uint8), 1)
    return 2 * float(cv2.distanceTransform(padded, cv2.DIST_L2, 5).max()) - 1


@st.composite
def masks_and_scribbles(draw: st.DrawFn) -> tuple[Pixels, Pixels]:
    """Blobs with holes, specks, nothing or everything, of any size; the scribbles may even be false."""
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    smooth = cv2.GaussianBlur(rng.random((height, width)), (0, 0), draw(st.sampled_from([0.5, 2.0, 8.0])))
    mask = (smooth >= np.quantile(smooth, draw(st.sampled_from([0.0, 0.1, 0.5, 0.9])))).astype(np.uint8)
    if draw(st.integers(0, 9)) == 0:
        mask[:] = 0
    labels = draw(st.sampled_from([(NO_STROKE,), (NO_STROKE, FOREGROUND_STROKE, BACKGROUND_STROKE)]))
    return mask, rng.choice(np.array(labels, np.uint8), (height, width))


@settings(max_examples=300)
@given(
    masks_and_scribbles(),
    st.integers(0, 2**32 - 1),
    st.sampled_from([STROKES, Strokes(thickness=0.1, closing=0.3, minimum_area=0.0, margin=0.0, bend=2.0)]),
)
def test_no_pixel_ever_contradicts_the_mask(sample: tuple[Pixels, Pixels], seed: int, strokes: Strokes) -> None:
    mask, scribble = sample
    before = mask.copy(), scribble.copy()
    drawn = synthetic_scribble(mask, scribble, np.random.default_rng(seed), strokes)
    assert drawn.shape == mask.shape and drawn.dtype == np.uint8
    assert set(np.unique(drawn)) <= {NO_STROKE, FOREGROUND_STROKE, BACKGROUND_STROKE}
    assert np.all(mask[drawn == FOREGROUND_STROKE] == 1)
    assert np.all(mask[drawn == BACKGROUND_STROKE] == 0)
    assert np.array_equal(mask, before[0]) and np.array_equal(scribble, before[1])


@pytest.mark.parametrize(("scale", "real"), [(1, 5), (2, 10)])
def test_strokes_are_as_thick_as_real_ones_at_every_size(scale: int, real: int) -> None:
    mask = disc_mask(375 * scale, 500 * scale, 90 * scale)
    for seed in range(20):
        drawn = synthetic_scribble(mask, np.zeros_like(mask), np.random.default_rng(seed))
        for label in (FOREGROUND_STROKE, BACKGROUND_STROKE):
            assert width_of(drawn == label) == pytest.approx(real, abs=1.2)


def test_a_stroke_runs_along_much_of_what_it_marks() -> None:
    mask = disc_mask()
    lengths = []
    for seed in range(50):
        drawn = synthetic_scribble(mask, blank(), np.random.default_rng(seed))
        assert cv2.connectedComponents((drawn == FOREGROUND_STROKE).astype(np.uint8))[0] == 2, "one stroke, unbroken"
        rows, columns = np.nonzero(drawn == FOREGROUND_STROKE)
        lengths.append(np.hypot(np.ptp(rows), np.ptp(columns)))
    assert 0.6 < np.median(lengths) / np.sqrt(mask.sum()) < 1.13  # a disc's diameter is 1.128 of that root


def test_strokes_differ_from_one_drawing_to_the_next() -> None:
    drawings = {synthetic_scribble(disc_mask(), blank(), np.random.default_rng(seed)).tobytes() for seed in range(20)}
    assert len(drawings) == 20


def test_a_stream_does_not_depend_on_the_global_random_state() -> None:
    drawings = []
    for state in (1, 2):
        np.random.seed(state)
        cv2.setRNGSeed(state)
        drawings.append(synthetic_scribble(disc_mask(), blank(), np.random.default_rng(7)))
    assert np.array_equal(*drawings)


def test_every_component_gets_a_stroke_and_loses_its_real_one() -> None:
    mask = blank()
    mask[50:150, 50:200] = mask[200:330, 280:450] = 1
    real = mask * np.uint8(FOREGROUND_STROKE)
    for seed in range(20):
        drawn = synthetic_scribble(mask, real, np.random.default_rng(seed)) == FOREGROUND_STROKE
        for window in (np.s_[50:150, 50:200], np.s_[200:330, 280:450]):
            assert 0 < drawn[window].mean() < 0.15


def test_a_component_below_the_smallest_area_keeps_its_real_scribble() -> None:
    mask = disc_mask()
    mask[10:23, 10:23] = 1  # 169 of 187,500 pixels
    real = blank()
    real[14:16, 11:19] = FOREGROUND_STROKE
    real[180:190, 240:260] = FOREGROUND_STROKE
    for seed in range(20):
        drawn = synthetic_scribble(mask, real, np.random.default_rng(seed))
        assert np.array_equal(drawn[10:23, 10:23], real[10:23, 10:23])
        assert not np.array_equal(drawn == FOREGROUND_STROKE, real == FOREGROUND_STROKE)
    marked = synthetic_scribble(mask, blank(), np.random.default_rng(0), Strokes(minimum_area=0.0))
    assert marked[10:23, 10:23].any(), "a smaller limit lets it be marked"


def test_a_component_too_small_for_a_line_keeps_its_real_scribble() -> None:
    mask = blank()
    mask[100:106, 100:106] = 1
    real = blank()
    real[102:104, 102:104] = FOREGROUND_STROKE
    drawn = synthetic_scribble(mask, real, np.random.default_rng(0), Strokes(minimum_area=0.0))
    assert np.array_equal(drawn == FOREGROUND_STROKE, real == FOREGROUND_STROKE)


def test_closing_makes_one_component_of_pieces_that_nearly_touch() -> None:
    mask = blank()
    for left in range(100, 400, 20):
        mask[150:200, left : left + 17] = 1  # gaps of 3 pixels
    for seed in range(10):
        drawn = (synthetic_scribble(mask, blank(), np.random.default_rng(seed)) == FOREGROUND_STROKE).astype(np.uint8)
        assert cv2.connectedComponents(cv2.dilate(drawn, np.ones((1, 5), np.uint8)))[0] == 2, "one stroke in all"
        assert drawn[mask == 0].sum() == 0


def test_a_stroke_never_takes_a_short_cut_through_the_background() -> None:
    mask = blank()
    cv2.ellipse(mask, (250, 190), (130, 130), 0, 0, 270, 1, 40)
    for seed in range(30):
        drawn = (synthetic_scribble(mask, blank(), np.random.default_rng(seed)) == FOREGROUND_STROKE).astype(np.uint8)
        assert cv2.connectedComponents(drawn)[0] == 2, "unbroken, though any chord of half the ring would be cut"


def test_an_empty_mask_gets_a_background_stroke_only() -> None:
    for shape in ((375, 500), (64, 64), (9, 200)):
        drawn = synthetic_scribble(blank(*shape), blank(*shape), np.random.default_rng(0))
        assert set(np.unique(drawn)) == {NO_STROKE, BACKGROUND_STROKE}


def test_a_full_mask_gets_a_foreground_stroke_only() -> None:
    drawn = synthetic_scribble(np.ones_like(blank()), blank(), np.random.default_rng(0))
    assert set(np.unique(drawn)) == {NO_STROKE, FOREGROUND_STROKE}


def test_real_background_stays_where_no_region_admits_a_line() -> None:
    mask = blank()
    mask[[2, -3], :] = mask[:, [2, -3]] = 1  # a frame: background within, nothing around
    real = blank()
    real[100:105, 100:400] = BACKGROUND_STROKE
    drawn = synthetic_scribble(mask, real, np.random.default_rng(0))
    assert np.array_equal(drawn == BACKGROUND_STROKE, real == BACKGROUND_STROKE)


def test_a_background_stroke_replaces_the_real_one_and_keeps_its_distance() -> None:
    mask = disc_mask()
    real = (1 - mask) * np.uint8(BACKGROUND_STROKE)
    near = cv2.dilate(mask, np.ones((7, 7), np.uint8))
    for seed in range(40):
        drawn = synthetic_scribble(mask, real, np.random.default_rng(seed)) == BACKGROUND_STROKE
        assert 0 < drawn.mean() < 0.03
        assert not drawn[near > 0].any()


def test_regions_lie_around_the_bounding_box_and_narrow_ones_are_left_out() -> None:
    mask = blank(100, 200)
    mask[30:60, 50:197] = 1
    assert regions_around(mask, margin=10, narrowest=5) == [(0, 0, 200, 20), (0, 70, 200, 30), (0, 0, 40, 100)]


def test_a_region_is_chosen_as_often_as_it_is_large() -> None:
    mask = blank(120, 160)
    mask[30:60, :] = 1  # about 28 rows above and 58 below
    below = sum(
        (synthetic_scribble(mask, blank(120, 160), np.random.default_rng(seed))[60:] == BACKGROUND_STROKE).any()
        for seed in range(600)
    )
    assert below / 600 == pytest.approx(58 / 86, abs=0.07)
