"""Points along strokes, as SAM is prompted with them."""

import pytest
import torch

from trainable.networks.prompts import spread_points


def points_of(strokes, count):
    points, exist = spread_points(strokes[None, None], count)
    assert points.shape == (1, 1, count, 2) and exist.shape == (1, 1, count)
    return [tuple(map(int, place)) for place, there in zip(points[0, 0].tolist(), exist[0, 0], strict=True) if there]


def test_points_of_a_straight_stroke_are_evenly_spaced():
    strokes = torch.zeros(5, 12, dtype=torch.bool)
    strokes[2, 1:10] = True
    # The middle, both ends (the left first), then the middles of the two halves.
    assert points_of(strokes, 5) == [(5, 2), (1, 2), (9, 2), (3, 2), (7, 2)]


def test_points_are_x_and_y_and_lie_on_the_stroke():
    strokes = torch.zeros(9, 7, dtype=torch.bool)
    strokes[1:8, 5] = strokes[7, 1:6] = True
    found = points_of(strokes, 6)
    assert len(set(found)) == 6 and all(strokes[y, x] for x, y in found)
    assert {(5, 1), (1, 7)} <= set(found), "the ends of the bent stroke"


def test_separate_strokes_of_a_class_all_get_points():
    strokes = torch.zeros(40, 40, dtype=torch.bool)
    for corner in ((2, 2), (2, 35), (35, 2), (35, 35)):
        strokes[corner[0] : corner[0] + 3, corner[1] : corner[1] + 3] = True
    found = points_of(strokes, 4)
    assert len({(x > 20, y > 20) for x, y in found}) == 4


@pytest.mark.parametrize("pixels", [0, 1, 3])
def test_a_stroke_has_at_most_as_many_points_as_pixels(pixels):
    strokes = torch.zeros(4, 6, dtype=torch.bool)
    strokes[3, :pixels] = True
    found = points_of(strokes, 8)
    assert sorted(found) == [(x, 3) for x in range(pixels)]


def test_each_stroke_of_a_batch_is_on_its_own():
    strokes = torch.rand(3, 2, 20, 30, generator=torch.Generator().manual_seed(0)) > 0.95
    strokes[1, 0] = False
    together, alone = spread_points(strokes, 7), [spread_points(each[None], 7) for each in strokes]
    for number in range(2):
        assert torch.equal(together[number], torch.cat([each[number] for each in alone]))
    assert not together[1][1, 0].any() and together[1][1, 1].all()
