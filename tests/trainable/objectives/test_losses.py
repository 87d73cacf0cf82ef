import math

import pytest
import torch
import torch.nn.functional as F

from trainable.config import Config, make_config
from trainable.objectives.losses import REGION_LOSSES, binary_cross_entropy, dice, iou, segmentation_loss

# A 4x4 image whose probabilities sum to 4.0, of which 3.2 lie on the 5 pixels of the truth.
PROBABILITIES = torch.tensor([[0.9, 0.8, 0.1, 0.1], [0.8, 0.5, 0.2, 0.0], [0.2, 0.1, 0.1, 0.1], [0.1, 0.0, 0.0, 0.0]])
TRUTH = torch.tensor([[1.0, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])


def weighted(logits, truth, pc):
    return binary_cross_entropy(logits, truth, make_config({"pc": pc})).mean()


def test_the_example_is_valid():
    assert PROBABILITIES.sum().item() == pytest.approx(4.0)
    assert TRUTH.sum().item() == 5
    assert (PROBABILITIES * TRUTH).sum().item() == pytest.approx(3.2)


def test_dice_of_the_example():
    # 1 - 2 * 3.2 / (4.0 + 5) = 1 - 6.4 / 9 = 0.289
    assert dice(PROBABILITIES[None], TRUTH[None]).item() == pytest.approx(0.289, abs=5e-4)


def test_iou_of_the_example():
    # 1 - 3.2 / (4.0 + 5 - 3.2) = 1 - 3.2 / 5.8 = 0.448
    assert iou(PROBABILITIES[None], TRUTH[None]).item() == pytest.approx(1 - 3.2 / 5.8, abs=1e-6)


@pytest.mark.parametrize("loss", REGION_LOSSES.values())
def test_a_perfect_prediction_costs_nothing_and_its_opposite_everything(loss):
    assert loss(TRUTH[None], TRUTH[None]).item() == pytest.approx(0, abs=1e-6)
    assert loss(1 - TRUTH[None], TRUTH[None]).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("loss", REGION_LOSSES.values())
def test_the_region_loss_is_per_sample(loss):
    both = loss(torch.stack([PROBABILITIES, TRUTH]), torch.stack([TRUTH, TRUTH]))
    assert both.shape == (2,)
    assert both[0] == loss(PROBABILITIES[None], TRUTH[None])[0] and both[1].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", REGION_LOSSES.values())
def test_an_empty_mask_predicted_empty_costs_nothing_and_has_finite_gradients(loss):
    logits = torch.full((1, 4, 4), -120.0, requires_grad=True)
    value = loss(logits.sigmoid(), torch.zeros(1, 4, 4))
    value.sum().backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(logits.grad).all()
    assert loss(torch.full((1, 4, 4), 0.5), torch.zeros(1, 4, 4)).item() == pytest.approx(1, abs=1e-5)


def test_cross_entropy_weights_foreground():
    logits, truth = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    # Both pixels cost log 2; the foreground one three times: (3 + 1) / 2 * log 2.
    assert weighted(logits, truth, 3.0).item() == pytest.approx(2 * math.log(2))


def test_cross_entropy_agrees_with_the_library_also_far_out():
    logits = torch.tensor([[-100.0, -3.0, 0.1, 5.0, 100.0], [100.0, 3.0, -0.1, -5.0, -100.0]])
    truth = torch.tensor([[1.0, 0, 1, 0, 1], [1, 0, 1, 0, 1]])
    expected = F.binary_cross_entropy_with_logits(logits, truth, pos_weight=torch.tensor(3.8))
    torch.testing.assert_close(weighted(logits, truth, 3.8), expected)


@pytest.mark.parametrize("loss", ["dice", "iou"])
def test_the_loss_is_the_weighted_sum_of_its_terms(loss):
    torch.manual_seed(0)
    logits, truth = torch.randn(3, 1, 8, 8), (torch.rand(3, 1, 8, 8) > 0.7).float()
    config = make_config({"loss": loss, "lambda_region": 0.7, "lambda_bce": 0.3, "pc": 2})
    region = REGION_LOSSES[loss](logits.sigmoid(), truth).mean()
    expected = 0.7 * region + 0.3 * weighted(logits, truth, 2.0)
    torch.testing.assert_close(segmentation_loss(logits, truth, config), expected)


def test_half_precision_logits_of_a_large_image_give_the_loss_of_full_precision():
    torch.manual_seed(0)
    logits = torch.randn(1, 1, 352, 480).bfloat16()
    truth = (torch.rand(1, 1, 352, 480) > 0.8).float()
    full = segmentation_loss(logits.float(), truth, Config())
    torch.testing.assert_close(segmentation_loss(logits, truth, Config()), full)


def test_every_loss_a_configuration_may_name_exists():
    from typing import get_args

    assert set(get_args(Config.model_fields["loss"].annotation)) == set(REGION_LOSSES)
