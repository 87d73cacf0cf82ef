"""The gated CRF term against a direct double loop over pixels."""

import math

import pytest
import torch

from trainable.objectives.terms.gated_crf import gated_crf


def double_loop(probabilities, intensity, radius, sigma_xy, sigma_intensity):
    """The definition, pair by pair."""
    samples, _, height, width = probabilities.shape
    total = 0.0
    places = [(y, x) for y in range(height) for x in range(width)]
    for n in range(samples):
        for y, x in places:
            for v, u in places:
                if (y, x) != (v, u) and max(abs(y - v), abs(x - u)) <= radius:
                    squared = ((y - v) ** 2 + (x - u) ** 2) / sigma_xy**2
                    difference = intensity[n, :, y, x] - intensity[n, :, v, u]
                    kernel = torch.exp(-0.5 * squared - 0.5 * (difference / sigma_intensity).square().sum())
                    total = total + kernel * (1 - (probabilities[n, :, y, x] * probabilities[n, :, v, u]).sum())
    return total / (samples * height * width)


@pytest.mark.parametrize(
    ("classes", "channels", "shape", "radius"),
    [(2, 1, (5, 7), 2), (4, 3, (6, 4), 1), (3, 1, (2, 5), 5), (2, 3, (1, 4), 2), (3, 1, (5, 1), 3)],
)
def test_value_and_gradient_are_those_of_a_double_loop(classes, channels, shape, radius):
    generator = torch.Generator().manual_seed(classes)
    logits = (2 * torch.randn(2, classes, *shape, generator=generator)).requires_grad_()
    intensity = torch.rand(2, channels, *shape, generator=generator)
    values, gradients = [], []
    for energy in (gated_crf, double_loop):
        values.append(energy(logits.softmax(1), intensity, radius, 1.5, 0.3))
        gradients += torch.autograd.grad(values[-1], logits)
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-4)
    assert gradients[0].abs().max() > 1e-3


def test_three_pixels_in_a_row_worked_by_hand():
    # Pixels 1 and 2 look alike and disagree; pixel 3 is too different from both. Each ordered pair costs exp(-1/2).
    probabilities = torch.tensor([[[[1.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]]]])
    intensity = torch.tensor([[[[0.2, 0.2, 1.0]]]])
    found = gated_crf(probabilities, intensity, 1, 1.0, 0.01)
    assert found.item() == pytest.approx(2 * math.exp(-0.5) / 3)


def test_one_class_everywhere_costs_nothing_and_an_image_of_one_pixel_neither():
    sure = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 8, 8)
    assert gated_crf(sure, torch.rand(1, 3, 8, 8), 5, 6.0, 0.1).item() == 0
    assert gated_crf(torch.full((1, 2, 1, 1), 0.5), torch.rand(1, 1, 1, 1), 5, 6.0, 0.1).item() == 0


def test_the_layout_of_the_logits_in_memory_does_not_matter():
    probabilities = torch.randn(2, 3, 6, 6).softmax(1)
    intensity = torch.rand(2, 1, 6, 6)
    last = probabilities.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(gated_crf(last, intensity, 2, 6, 0.1), gated_crf(probabilities, intensity, 2, 6, 0.1))
