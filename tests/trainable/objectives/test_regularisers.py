"""Terms without labels, on tensors small enough to be worked out by hand."""

import math

import pytest
import torch

from trainable.objectives.terms.regularisers import entropy, intensity_variance, total_variation

# Two samples of two pixels of three classes.
PROBABILITIES = torch.tensor(
    [[[[0.5, 0.0]], [[0.25, 1.0]], [[0.25, 0.0]]], [[[1 / 3, 0.5]], [[1 / 3, 0.5]], [[1 / 3, 0.0]]]]
)
LOGS = PROBABILITIES.clamp(min=1e-30).log()


def test_entropy_is_the_mean_over_samples_of_their_unlabelled_pixels():
    # The pixels have 1.5 log 2, 0, log 3 and log 2 (over log 3): the means are 0.75 log 2 and, without its last, log 3.
    where = torch.tensor([[[True, True]], [[True, False]]])
    expected = (0.75 * math.log(2) / math.log(3) + 1) / 2
    assert entropy(LOGS, where).item() == pytest.approx(expected, abs=1e-6)


def test_a_sample_without_unlabelled_pixels_has_no_part_in_the_entropy():
    where = torch.tensor([[[True, True]], [[False, False]]])
    assert entropy(LOGS, where).item() == pytest.approx(0.75 * math.log(2) / math.log(3), abs=1e-6)
    logs = LOGS.clone().requires_grad_()
    value = entropy(logs, torch.zeros(2, 1, 2, dtype=torch.bool))
    value.backward()
    assert value.item() == 0 and not logs.grad.any()


def test_total_variation_is_the_length_of_the_outline_per_pixel():
    # A square of 2x2 in a corner of 4x4 has an outline of 2 + 2 steps.
    square = torch.zeros(1, 1, 4, 4)
    square[..., :2, :2] = 1
    both = torch.cat([1 - square, square], 1)
    assert total_variation(both).item() == pytest.approx(4 / 16)
    # The two samples above: (1/2 + 3/4 + 1/4) / 2 and (1/6 + 1/6 + 1/3) / 2, over 4 pixels.
    assert total_variation(PROBABILITIES).item() == pytest.approx((0.75 + 1 / 3) / 4)


def test_the_variance_of_intensity_worked_by_hand():
    # Class 1 has the pixels 0 and 1 with weights 1 and 1/3: mean 1/4, 1/16 + 9/16 / 3 = 1/4.
    # Class 2 has the pixel 1 alone with the weight 2/3: no variance. Both over 2 pixels.
    probabilities = torch.tensor([[[[1.0, 1 / 3]], [[0.0, 2 / 3]]]])
    intensity = torch.tensor([[[[0.0, 1.0]]]])
    assert intensity_variance(probabilities, intensity).item() == pytest.approx(1 / 8)
    # A second channel of one intensity halves the mean over channels.
    coloured = torch.cat([intensity, torch.full_like(intensity, 0.3)], 1)
    assert intensity_variance(probabilities, coloured).item() == pytest.approx(1 / 16)


def test_the_gradient_of_the_variance_includes_the_means():
    """It does without following them, because they minimise it."""
    logits = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    intensity = torch.rand(2, 2, 5, 4, dtype=torch.float64)

    def variance(logits):
        shares = logits.softmax(1).unsqueeze(2)
        means = (shares * intensity.unsqueeze(1)).sum((-2, -1), keepdim=True) / shares.sum((-2, -1), keepdim=True)
        return (shares * (intensity.unsqueeze(1) - means).square()).mean(2).sum(1).mean()

    found, expected = (
        torch.autograd.grad(value, logits)[0]
        for value in (intensity_variance(logits.softmax(1), intensity), variance(logits))
    )
    torch.testing.assert_close(found, expected)


def test_a_class_without_any_probability_has_no_variance():
    probabilities = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3).clone().requires_grad_()
    intensity = torch.rand(1, 1, 3, 3)
    value = intensity_variance(probabilities, intensity)
    value.backward()
    assert value.item() == pytest.approx(intensity.var(correction=0).item(), abs=1e-6)
    assert torch.isfinite(probabilities.grad).all()
