import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from trainable.config import Config, make_config
from trainable.config.values import Region
from trainable.objectives.mask_loss import segmentation_loss
from trainable.objectives.terms.cross_entropy import binary_cross_entropy
from trainable.objectives.terms.regions import REGION_LOSSES, dice, iou, tversky

# The worked example of a textbook: probabilities that sum to 4.0, of which 3.2 lie on the 5 pixels of the truth.
PROBABILITIES = torch.tensor([[0.9, 0.8, 0.1, 0.0], [0.7, 0.6, 0.2, 0.1], [0.1, 0.3, 0.1, 0.0], [0.0, 0.1, 0.0, 0.0]])
TRUTH = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def weighted(logits, truth, pc):
    return binary_cross_entropy(logits, truth, (1.0, pc)).mean()


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


def test_tversky_of_the_example():
    # 0.8 are false positives and 1.8 false negatives: 1 - 3.2 / (3.2 + 0.25 * 0.8 + 0.5 * 1.8) = 1 - 3.2 / 4.3.
    found = tversky(PROBABILITIES[None], TRUTH[None], alpha=0.25, beta=0.5)
    assert found.item() == pytest.approx(1 - 3.2 / 4.3, abs=1e-6)


def test_tversky_is_dice_with_halves_and_iou_with_ones():
    for loss, weight in ((dice, 0.5), (iou, 1.0)):
        found = tversky(PROBABILITIES[None], TRUTH[None], weight, weight)
        torch.testing.assert_close(found, loss(PROBABILITIES[None], TRUTH[None]))


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


def test_every_region_term_a_configuration_may_name_exists():
    assert set(get_args(Region)) == set(REGION_LOSSES)


def random_sample(seed=0):
    torch.manual_seed(seed)
    return 3 * torch.randn(3, 1, 8, 8), (torch.rand(3, 1, 8, 8) > 0.7).float()


def test_tversky_takes_its_weights_from_the_config():
    logits, truth = random_sample()
    config = make_config({"loss": "tversky", "tversky_alpha": 0.2, "tversky_beta": 0.9, "lambda_bce": 0})
    expected = tversky(logits.sigmoid(), truth, 0.2, 0.9).mean()
    torch.testing.assert_close(segmentation_loss(logits, truth, config), expected)


def test_dice_and_bce_of_the_example_share_one_weight():
    # BCE is the mean of -log p on the 5 pixels of the truth and -log(1 - p) on the others; Dice costs 2.6 / 9.
    inside = [0.9, 0.8, 0.7, 0.6, 0.2]
    outside = [0.1, 0.1, 0.1, 0.3, 0.1, 0.1]  # and zeros
    bce = -(sum(map(math.log, inside)) + sum(math.log(1 - p) for p in outside)) / 16
    logits = PROBABILITIES.logit(eps=1e-7)[None, None]
    found = segmentation_loss(logits, TRUTH[None, None], make_config({"loss": "dice+bce", "alpha": 0.3}))
    assert found.item() == pytest.approx(0.3 * bce + 0.7 * 2.6 / 9, abs=1e-5)


def test_plain_cross_entropy_weights_no_class():
    logits, truth = random_sample()
    found = segmentation_loss(logits, truth, make_config({"loss": "ce"}))
    torch.testing.assert_close(found, F.binary_cross_entropy_with_logits(logits, truth))


def test_the_focal_loss_worked_by_hand():
    # Foreground with p = 1/4 costs 0.8 * (3/4)^2 * log 4, background with the same 0.2 * (1/4)^2 * log 4/3.
    logits, truth = torch.full((1, 1, 1, 2), 0.25).logit(), torch.tensor([[[[1.0, 0.0]]]])
    values = {"lambda_region": 0, "lambda_bce": 0, "lambda_focal": 3, "focal_gamma": 2, "focal_alpha": 0.8}
    expected = (0.8 * 9 / 16 * math.log(4) + 0.2 / 16 * math.log(4 / 3)) / 2
    assert segmentation_loss(logits, truth, make_config(values)).item() == pytest.approx(3 * expected, abs=1e-6)


def test_the_focal_loss_is_added_to_the_others():
    logits, truth = random_sample()
    focal = {"focal_gamma": 1.5, "lambda_region": 0, "lambda_bce": 0, "lambda_focal": 1}
    expected = segmentation_loss(logits, truth, Config()) + 0.5 * segmentation_loss(logits, truth, make_config(focal))
    found = segmentation_loss(logits, truth, make_config({"focal_gamma": 1.5, "lambda_focal": 0.5}))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_has_finite_gradients_far_out(gamma):
    logits = torch.tensor([[[[-200.0, -3.0, 200.0, 3.0, 200.0]]]], requires_grad=True)
    truth = torch.tensor([[[[1.0, 1, 1, 0, 0]]]])
    values = {"lambda_region": 0, "lambda_bce": 0, "lambda_focal": 1, "focal_gamma": gamma}
    segmentation_loss(logits, truth, make_config(values)).backward()
    assert torch.isfinite(logits.grad).all() and logits.grad[0, 0, 0, 0] < 0 < logits.grad[0, 0, 0, 4]
