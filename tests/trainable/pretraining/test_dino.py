"""The arithmetic of self-distillation, and the views that it compares."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from trainable.config.stage_fields import view_sizes
from trainable.networks.cores.blocks import ContractingPath, convolutions
from trainable.pretraining.dino import Projected, Sums, distillation_loss, sharpened
from trainable.pretraining.views import Crop, crops_of, random_views

WHOLE = Crop((32, 64), 1.0, 1.0)


def test_the_teacher_is_centred_and_sharpened():
    teacher = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    # Logits minus the centre are (0, 0) and (2, 0); at a temperature of 2, (0, 0) and (1, 0).
    expected = [[0.5, 0.5], [1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))]]
    torch.testing.assert_close(sharpened(teacher, torch.tensor([1.0, 0.0]), 2.0), torch.tensor(expected))


def test_the_loss_compares_every_view_of_the_student_with_the_other_views_of_the_teacher():
    even, first = [0.0, 0.0], [math.log(3.0), 0.0]  # logits of (1/2, 1/2) and (3/4, 1/4) at a temperature of 1
    student = torch.tensor([[even], [first], [first]])
    teacher = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    # Teacher 1 with views 2 and 3: -log 3/4 each. Teacher 2 with views 1 and 3: -log 1/2 and -log 1/4.
    expected = (2 * -math.log(0.75) + math.log(2) + math.log(4)) / 4
    assert distillation_loss(student, teacher, 1.0).item() == pytest.approx(expected, abs=1e-6)
    doubled = distillation_loss(2 * student, teacher, 2.0)
    assert doubled.item() == pytest.approx(expected, abs=1e-6), "a temperature divides"


def test_signs_are_means_over_the_steps_of_an_epoch():
    sums = Sums(2, torch.device("cpu"))
    sums.add(torch.tensor(1.0), torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))
    sums.add(torch.tensor(2.0), torch.tensor([[[0.5, 0.5]], [[0.5, 0.5]]]))
    signs = sums.signs()
    assert (signs.loss, signs.entropy, signs.spread) == pytest.approx((1.5, math.log(2) / 2, math.log(2)))
    assert signs.divergence == pytest.approx(1.5 - math.log(2) / 2) and not signs.collapsed
    sums.clear()
    assert not sums.values.any()


def test_an_output_that_drifts_but_is_the_same_for_every_image_has_collapsed():
    sums = Sums(2, torch.device("cpu"))
    for share in (0.1, 0.5, 0.9):
        sums.add(torch.tensor(1.0), torch.tensor([share, 1 - share]).expand(2, 3, 2))
    signs = sums.signs()
    assert signs.collapsed and signs.spread == pytest.approx(signs.entropy)


def test_an_encoder_deeper_than_the_usual_size_can_be_projected():
    encoder = ContractingPath(3, [2] * 8, partial(convolutions, count=1)).eval()
    assert Projected(encoder, (3, 256, 256), 5).features(torch.rand(1, 3, 128, 128)).shape == (1, 2)


class Last(nn.Module):
    """An encoder whose last feature map is its input."""

    def forward(self, inputs):
        return [inputs.new_full((1,), math.nan), inputs]


def test_the_last_feature_map_is_averaged_and_outputs_are_cosines():
    projected = Projected(Last(), (3, 64, 64), 5)
    inputs = torch.arange(24.0).view(2, 3, 2, 2)
    features = projected.features(inputs)
    assert features.tolist() == [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]
    outputs = projected.project(features)
    with torch.no_grad():
        projected.directions *= 7
    torch.testing.assert_close(projected.project(features), outputs)
    assert outputs.shape == (2, 5) and outputs.abs().max() <= 1


@pytest.mark.parametrize(
    ("size", "large", "small"),
    [((480, 352), (256, 192), (128, 96)), ((160, 128), (64, 64), (32, 32)), ((32, 32), (32, 32), (32, 32))],
)
def test_views_are_half_and_a_quarter_of_the_working_size_in_whole_strides(size, large, small):
    assert view_sizes(size) == (large, small)
    crops = crops_of(size, 3)
    assert [crop.size for crop in crops] == [large[::-1]] * 2 + [small[::-1]] * 3
    assert all(crop.least == 0.4 for crop in crops[:2]) and all(crop.most == 0.4 for crop in crops[2:])


def test_views_depend_on_the_generator_alone():
    images = torch.rand(4, 3, 64, 96)

    def views(seed):
        return random_views(images, WHOLE, np.random.default_rng(seed))

    assert torch.equal(views(1), views(1)) and not torch.equal(views(1), views(2))
    assert views(1).shape == (4, 3, 32, 64) and views(1).min() >= 0 and views(1).max() <= 1


def test_views_are_flipped_in_both_directions():
    ramp = torch.linspace(0.2, 0.8, 96).expand(1, 64, 96) + torch.linspace(-0.1, 0.1, 64).view(1, 64, 1)
    views = random_views(ramp.expand(100, 1, 64, 96), WHOLE, np.random.default_rng(0))
    right = views[:, 0, :, -8:].mean((1, 2)) > views[:, 0, :, :8].mean((1, 2))
    low = views[:, 0, -8:].mean((1, 2)) > views[:, 0, :8].mean((1, 2))
    assert all(20 < flipped.sum() < 80 for flipped in (right, low))


def test_a_crop_shows_its_share_of_the_image():
    ramp = torch.linspace(0.0, 1.0, 96).expand(64, 1, 64, 96)
    few = random_views(ramp, Crop((32, 64), 0.05, 0.1), np.random.default_rng(0))
    most = random_views(ramp, Crop((32, 64), 0.9, 1.0), np.random.default_rng(0))

    def spread(views):
        return (views.amax((1, 2, 3)) - views.amin((1, 2, 3))).mean().item()

    assert spread(few) < 0.45 < 0.7 < spread(most)


def test_some_views_are_grey_and_some_are_blurred():
    images = torch.rand(100, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    views = random_views(images, Crop((64, 96), 1.0, 1.0), np.random.default_rng(0))
    grey = (views - views.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 0.02
    assert 5 < grey.sum() < 40
    rough = (views[..., 1:] - views[..., :-1]).abs().mean((1, 2, 3))
    assert rough.max() > 4 * rough.min()
