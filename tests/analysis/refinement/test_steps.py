"""Each step on arrays that are small enough to be worked out by hand."""

import numpy as np
import pytest

from analysis.refinement.chain import as_rows, maps_of, mask_of, read_chain, refined, with_step, words
from analysis.refinement.steps.components import Holes, LargestComponent, SmallestComponent, filled
from analysis.refinement.steps.crf import DenseCrf
from analysis.refinement.steps.relaxation import LONGEST, Relaxation
from analysis.refinement.steps.scribbles import Scribbles
from analysis.refinement.steps.step import Scene
from analysis.refinement.steps.thresholds import ClassWeights, Threshold
from trainable.errors import UserError


def drawn(text):
    """Rows of digits as a mask; a dot is background."""
    return np.array([[0 if sign == "." else int(sign) for sign in row] for row in text.split()], np.uint8)


def scene(shape, scribble=None):
    return Scene(np.zeros((*shape, 3), np.uint8), np.full(shape, 255, np.uint8) if scribble is None else scribble)


def applied(step, mask, classes=2):
    return step.apply(mask, scene(mask.shape), classes)


def test_a_threshold_is_exclusive():
    maps = maps_of(np.array([[0.2, 0.3, 0.4]], np.float32))
    assert Threshold(0.3).decide(maps).tolist() == [[0, 0, 1]]
    assert mask_of(maps, scene((1, 3)), (), 0.25).tolist() == [[0, 1, 1]], "without the step, tau of the config holds"


def test_the_relaxation_moves_a_border_to_the_edge_of_the_image_and_removes_a_speck():
    image = np.zeros((20, 30, 3), np.uint8)
    image[:, 15:] = 200
    probability = np.full((20, 30), 0.2, np.float32)
    probability[:, 13:] = 0.8  # two columns too many
    probability[5, 4] = 0.9
    found = Relaxation(0.2, 12.0).apply(maps_of(probability), Scene(image, np.full((20, 30), 255, np.uint8)))
    assert found.shape == (2, 20, 30) and np.allclose(found.sum(0), 1, atol=1e-4)
    assert ((found[1] > 0.5) == (np.arange(30) >= 15)).all()


def test_without_smoothness_the_relaxation_chooses_the_likeliest_class():
    maps = np.random.default_rng(0).dirichlet(np.ones(3), (9, 11)).astype(np.float32).transpose(2, 0, 1)
    assert (Relaxation(0.0, 12.0).apply(maps, scene((9, 11))).argmax(0) == maps.argmax(0)).all()


def test_a_large_image_is_relaxed_at_a_smaller_size():
    probability = np.full((3, 4 * LONGEST), 0.1, np.float32)
    probability[:, 2 * LONGEST :] = 0.9
    found = Relaxation(0.02, 12.0).apply(maps_of(probability), scene(probability.shape))
    assert ((found[1] > 0.5) == (probability > 0.5)).mean() > 0.99


def test_weights_of_classes_move_the_borders_between_them():
    maps = np.array([[[0.5, 0.4]], [[0.3, 0.35]], [[0.2, 0.25]]], np.float32)
    assert ClassWeights((1.0, 1.0, 1.0)).decide(maps).tolist() == [[0, 0]]
    assert ClassWeights((1.0, 1.2, 1.0)).decide(maps).tolist() == [[0, 1]], "0.35 x 1.2 = 0.42 > 0.4; 0.36 < 0.5"
    assert ClassWeights((1.0, 1.0, 4.0)).decide(maps).tolist() == [[2, 2]]


def test_small_components_of_foreground_become_what_is_around_them():
    mask = drawn("11....  11....  ...1..  ..1..1")
    # 24 pixels: components of 4, 2 (along the diagonal) and 1.
    assert np.array_equal(applied(SmallestComponent(0.05), mask), drawn("11....  11....  ...1..  ..1..."))
    assert np.array_equal(applied(SmallestComponent(0.1), mask), drawn("11....  11....  ......  ......"))
    assert np.array_equal(applied(SmallestComponent(0.01), mask), mask)


def test_a_small_component_within_another_class_becomes_that_class():
    mask = drawn("11111  11211  11111  .....  ..2..")
    assert np.array_equal(applied(SmallestComponent(0.1), mask, 3), drawn("11111  11111  11111  .....  ....."))


def test_only_the_largest_component_of_each_class_is_kept():
    mask = drawn("11..2  11..2  .....  1...2")
    assert np.array_equal(applied(LargestComponent(), mask, 3), drawn("11..2  11..2  .....  ....."))
    assert np.array_equal(applied(LargestComponent(), drawn("1.1")), drawn("1..")), "of two equal ones, the left one"
    assert not applied(LargestComponent(), drawn("...")).any()


def test_holes_are_enclosed_background_of_at_most_a_size():
    mask = drawn("1111111  1.11..1  1111..1  1111111  .......  .11....  1..1...  .11....")
    # Of 56 pixels: holes of 1, 4 and, open along diagonals only, 2.
    small, all_ = applied(Holes(2.5 / 56), mask), applied(Holes(1.0), mask)
    assert np.array_equal(small, drawn("1111111  1111..1  1111..1  1111111  .......  .11....  1111...  .11...."))
    assert np.array_equal(all_, drawn("1111111  1111111  1111111  1111111  .......  .11....  1111...  .11...."))
    assert np.array_equal(applied(Holes(1.0), drawn("11.  1.1  111")), drawn("11.  111  111")), "the border is open"


def test_a_speck_of_background_is_no_component_and_a_ring_away_from_the_border_has_a_hole():
    assert np.array_equal(applied(SmallestComponent(0.3), drawn("111.  1111")), drawn("111.  1111"))
    ring, disk = ".....  .111.  .1.1.  .111.  .....", ".....  .111.  .111.  .111.  ....."
    assert np.array_equal(applied(Holes(1.0), drawn(ring)), drawn(disk))


def test_a_hole_gets_the_class_that_is_nearest():
    assert np.array_equal(applied(Holes(1.0), drawn("222  2.2  222"), 3), drawn("222  222  222"))
    assert np.array_equal(applied(Holes(1.0), drawn("111  121  111"), 3), drawn("111  121  111")), "of background only"


def test_a_mask_in_which_nothing_stays_is_left_alone():
    mask = drawn("11  11")
    assert np.array_equal(filled(mask, mask > 0), mask)
    assert np.array_equal(applied(SmallestComponent(2.0), mask), mask)


def test_scribbles_have_the_last_word_even_those_of_a_pixel():
    scribble = np.full((2, 2), 255, np.uint8)
    scribble[0, 1] = 0
    found = Scribbles().apply(drawn("11  11"), scene((2, 2), scribble), 2)
    assert np.array_equal(found, drawn("1.  11"))
    assert np.array_equal(applied(Scribbles(), drawn("1.")), drawn("1.")), "without a scribble, nothing changes"


def test_a_chain_has_one_order_however_it_is_put_together():
    chain = ()
    for step in (Scribbles(), Holes(0.5), Threshold(0.4), DenseCrf(3, 0.1, 8, 3), Threshold(0.6)):
        chain = with_step(chain, step)
    assert [step.name for step in chain] == ["crf", "threshold", "holes", "scribbles"]
    assert read_chain(as_rows(chain), "file") == chain and chain[1] == Threshold(0.6)
    assert words(chain[1:]) == "threshold (tau 0.6), then holes (share 0.5), then scribbles"
    weights = (ClassWeights((1.0, 2.0, 0.5)),)
    assert read_chain(as_rows(weights), "file") == weights


def test_the_steps_of_a_chain_build_on_each_other():
    probability = np.full((4, 6), 0.1, np.float32)
    probability[:2, :2], probability[3, 5] = 0.45, 0.9
    chain = (Threshold(0.4), SmallestComponent(0.1))
    assert np.array_equal(refined(probability, scene((4, 6)), chain, 0.5), drawn("11....  11....  ......  ......"))
    assert refined(probability, scene((4, 6)), chain[1:], 0.5).sum() == 0, "at 0.5 only the island would be there"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"step": "hole", "share": 1}], "unknown step 'hole'. Did you mean 'holes'"),
        ([{"step": "holes"}], "step holes has no values, needs share"),
        ([{"step": "threshold", "tau": 0.5, "mu": 1}], "step threshold has tau, mu, needs tau"),
        ([{"step": "threshold", "tau": "high"}], "step threshold, tau = 'high': must be a number"),
        (["crf"], "unknown step None. Known: crf, relaxation, threshold"),
    ],
)
def test_a_damaged_chain_is_refused(rows, message):
    with pytest.raises(UserError, match=f"^here: {message}"):
        read_chain(rows, "here")
