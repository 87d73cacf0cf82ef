"""Losses of several classes, with ignored pixels, and on scribbles alone."""

import math

import pytest
import torch
import torch.nn.functional as F
from conftest import small_config

from trainable.objectives.losses import training_loss
from trainable.objectives.mask_loss import class_loss, segmentation_loss
from trainable.objectives.scribble_loss import partial_cross_entropy
from trainable.objectives.terms.regions import dice, iou

IGNORED = 15
REGIONS = {"dice": dice, "iou": iou}


def config(**values):
    return small_config(**values)


def region_alone(loss):
    return config(loss=loss, lambda_bce=0.0)


def cross_entropy_alone(**values):
    return config(lambda_region=0.0, lambda_bce=1.0, **values)


def bytes_of(values):
    return torch.tensor(values, dtype=torch.uint8)


def labels_of(scribble, mask):
    return (scribble << 4) | mask


def sample(seed, classes=4, shape=(3, 8, 8), ignored=0.0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape[0], classes, *shape[1:], generator=generator)
    mask = torch.randint(0, classes, shape, generator=generator).to(torch.uint8)
    return logits, torch.where(torch.rand(shape, generator=generator) < ignored, bytes_of(IGNORED), mask)


# Two pixels of three classes with the probabilities (1/2, 1/4, 1/4) and (1/8, 3/4, 1/8); they show class 2 and 1.
LOGITS = torch.tensor([[[[0.5, 0.125]], [[0.25, 0.75]], [[0.25, 0.125]]]]).log()
MASK = bytes_of([[[2, 1]]])


def test_dice_is_averaged_over_classes_but_the_first():
    # Class 1: 1 - 2 * 0.75 / (1 + 0.25 + 0.75) = 1/4; class 2: 1 - 2 * 0.25 / (1 + 0.25 + 0.125) = 7/11.
    assert class_loss(LOGITS, MASK, region_alone("dice")).item() == pytest.approx((1 / 4 + 7 / 11) / 2, abs=1e-5)


def test_iou_is_averaged_over_classes_but_the_first():
    # Class 1: 1 - 0.75 / (1 + 1 - 0.75) = 2/5; class 2: 1 - 0.25 / (1 + 0.375 - 0.25) = 7/9.
    assert class_loss(LOGITS, MASK, region_alone("iou")).item() == pytest.approx((2 / 5 + 7 / 9) / 2, abs=1e-5)


def test_cross_entropy_is_the_weighted_mean_over_pixels():
    # The pixels cost 2 * -log 1/4 and 5 * -log 3/4 with weights (1, 5, 2).
    expected = (2 * math.log(4) + 5 * math.log(4 / 3)) / 2
    found = class_loss(LOGITS, MASK, cross_entropy_alone(class_weights="1,5,2"))
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_the_focal_loss_is_the_mean_over_pixels():
    # Class 2 with p = 1/4 costs 0.7 * (3/4)^2 * log 4, class 1 with p = 3/4 costs 0.7 * (1/4)^2 * log 4/3.
    values = {"lambda_region": 0.0, "lambda_bce": 0.0, "lambda_focal": 1.0, "focal_alpha": 0.7}
    expected = 0.7 * (9 / 16 * math.log(4) + 1 / 16 * math.log(4 / 3)) / 2
    assert class_loss(LOGITS, MASK, config(**values)).item() == pytest.approx(expected, abs=1e-6)
    # A first class has the weight 0.3: the pixels cost (1/2)^2 * log 2 and (7/8)^2 * log 8.
    first = 0.3 * (1 / 4 * math.log(2) + 49 / 64 * math.log(8)) / 2
    assert class_loss(LOGITS, 0 * MASK, config(**values)).item() == pytest.approx(first, abs=1e-6)


def test_dice_and_cross_entropy_of_several_classes_share_one_weight():
    logits, mask = sample(0)
    expected = 0.2 * F.cross_entropy(logits, mask.long()) + 0.8 * class_loss(logits, mask, region_alone("dice"))
    torch.testing.assert_close(class_loss(logits, mask, config(loss="dice+bce", alpha=0.2)), expected)
    torch.testing.assert_close(class_loss(logits, mask, config(loss="ce")), F.cross_entropy(logits, mask.long()))


def test_pc_is_the_weight_of_every_class_but_the_first():
    logits, mask = sample(0)
    by_pc = class_loss(logits, mask, cross_entropy_alone(pc=2.5))
    by_class = class_loss(logits, mask, cross_entropy_alone(class_weights=[1, 2.5, 2.5, 2.5]))
    assert by_pc == by_class != class_loss(logits, mask, cross_entropy_alone(pc=2))


@pytest.mark.parametrize("ignored", [0.0, 0.4])
def test_cross_entropy_agrees_with_the_library(ignored):
    logits, mask = sample(1, ignored=ignored)
    logits = logits * 30  # far out as well
    expected = F.cross_entropy(
        logits, mask.long(), torch.tensor([0.5, 1.0, 2.0, 3.0]), ignore_index=IGNORED, reduction="none"
    )
    found = class_loss(logits, mask, cross_entropy_alone(class_weights="0.5,1,2,3"))
    torch.testing.assert_close(found, expected.sum() / (mask != IGNORED).sum())


@pytest.mark.parametrize("loss", REGIONS)
def test_the_loss_is_the_weighted_sum_of_its_terms(loss):
    logits, mask = sample(2, ignored=0.3)
    both = class_loss(logits, mask, config(loss=loss, lambda_region=0.7, lambda_bce=0.3))
    region, cross = (class_loss(logits, mask, each) for each in (region_alone(loss), cross_entropy_alone(loss=loss)))
    torch.testing.assert_close(both, 0.7 * region + 0.3 * cross)


@pytest.mark.parametrize("loss", [*REGIONS, "tversky", "dice+bce", "ce"])
@pytest.mark.parametrize("focal", [0.0, 1.0])
@pytest.mark.parametrize("classes", [1, 4])
def test_ignored_pixels_change_nothing_and_get_no_gradient(classes, focal, loss):
    one = config(loss=loss, lambda_focal=focal)
    logits, mask = sample(3, classes, ignored=0.4)
    if classes == 1:
        mask = torch.where(mask == IGNORED, mask, (torch.rand(mask.shape) < 0.3).to(torch.uint8))
    labels = labels_of(torch.zeros_like(mask), mask)
    hidden = (mask == IGNORED).unsqueeze(1)
    noisy = torch.where(hidden, 50 * torch.randn_like(logits), logits).requires_grad_()
    value = training_loss(noisy, labels, one, ignoring=True)
    torch.testing.assert_close(value, training_loss(logits, labels, one, ignoring=True))
    value.backward()
    assert not noisy.grad[hidden.expand_as(noisy)].any() and noisy.grad[~hidden.expand_as(noisy)].any()


@pytest.mark.parametrize("values", [{}, {"loss": "dice+bce"}, {"loss": "tversky", "lambda_focal": 2.0}], ids=str)
@pytest.mark.parametrize("classes", [1, 3])
def test_the_loss_with_ignored_pixels_is_that_of_the_other_pixels(classes, values):
    """Of one row of pixels, of which those at the end are ignored."""
    logits, mask = sample(4, classes, (1, 1, 20))
    if classes == 1:
        mask = torch.arange(20, dtype=torch.uint8).reshape(1, 1, 20) % 3 % 2
    whole = torch.cat([mask, torch.full((1, 1, 9), IGNORED, dtype=torch.uint8)], -1)
    longer = torch.cat([logits, torch.randn(1, classes, 1, 9)], -1)
    torch.testing.assert_close(
        training_loss(longer, whole, config(**values), ignoring=True), training_loss(logits, mask, config(**values))
    )


@pytest.mark.parametrize("classes", [1, 4])
def test_a_batch_that_is_ignored_altogether_has_a_finite_loss_and_no_gradient(classes):
    logits, mask = sample(5, classes)
    logits.requires_grad_()
    value = training_loss(logits, torch.full_like(mask, IGNORED), config(), ignoring=True)
    value.backward()
    assert math.isfinite(value.item()) and not logits.grad.any()


@pytest.mark.parametrize("ignoring", [False, True])
def test_a_mask_of_two_classes_without_ignored_pixels_costs_what_it_always_did(ignoring):
    logits, mask = sample(6, 1)
    mask = mask + torch.eye(8, dtype=torch.uint8)
    expected = segmentation_loss(logits, mask.unsqueeze(1), config())
    torch.testing.assert_close(training_loss(logits, mask, config(), ignoring), expected)


def test_class_weights_of_two_classes_weight_both():
    logits, truth = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 0.0]]]])
    # Both pixels cost log 2, with the weights 4 and 2: (4 + 2) / 2 * log 2.
    found = segmentation_loss(logits, truth, cross_entropy_alone(class_weights="2,4"))
    assert found.item() == pytest.approx(3 * math.log(2))


def scribbled(seed, classes, samples=(0.3, 0.1, 0.6)):
    """Logits, and scribbles on these shares of each sample's pixels."""
    logits, mask = sample(seed, classes, (len(samples), 8, 8))
    shares = torch.tensor(samples).view(-1, 1, 1)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(mask.shape, generator=generator) < shares
    return logits, torch.where(drawn, mask + 1, 0).to(torch.uint8)


def test_partial_cross_entropy_worked_by_hand():
    # Sample 1: one scribbled pixel of class 2 costs 3 * log 4.
    # Sample 2: a pixel of class 1 costs 3 * log 4/3, one of class 0 costs log 2.
    logits = torch.cat([LOGITS, LOGITS.flip(-1)])
    scribble = bytes_of([[[3, 0]], [[2, 1]]])
    expected = (3 * math.log(4) + (3 * math.log(4 / 3) + math.log(2)) / 2) / 2
    assert partial_cross_entropy(logits, scribble, (1, 3, 3)).item() == pytest.approx(expected, abs=1e-6)


def test_partial_cross_entropy_is_the_mean_over_samples_of_their_scribbled_pixels():
    logits, scribble = scribbled(7, 4)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    expected = [
        F.cross_entropy(one.flatten(1).T[where], marks[where].long() - 1, weights, reduction="none").mean()
        for one, marks in zip(logits, scribble.flatten(1), strict=True)
        for where in [marks > 0]
    ]
    found = partial_cross_entropy(logits, scribble, (1, 2, 3, 4))
    torch.testing.assert_close(found, torch.stack(expected).mean())


@pytest.mark.parametrize("weights", [(1, 2.5), (0.5, 2), (1, 1)])
def test_two_classes_cost_the_same_as_one_logit_and_as_two(weights):
    logits, _ = scribbled(8, 1)
    _, scribble = scribbled(8, 2)
    assert set(scribble.unique().tolist()) == {0, 1, 2}
    stacked = torch.cat([torch.zeros_like(logits), logits], 1)
    torch.testing.assert_close(
        partial_cross_entropy(logits, scribble, weights), partial_cross_entropy(stacked, scribble, weights)
    )


@pytest.mark.parametrize("classes", [1, 4])
def test_a_sample_without_scribbles_takes_no_part(classes):
    logits, scribble = scribbled(9, max(classes, 2), (0.3, 0.0, 0.6))
    logits = logits[:, :classes].clone().requires_grad_()
    weights = (1, 3, 3, 3)[: max(classes, 2)]
    value = partial_cross_entropy(logits, scribble, weights)
    value.backward()
    torch.testing.assert_close(value, partial_cross_entropy(logits[[0, 2]], scribble[[0, 2]], weights))
    assert not logits.grad[1].any() and torch.isfinite(logits.grad).all() and logits.grad.any()


@pytest.mark.parametrize("classes", [1, 4])
def test_a_batch_without_scribbles_costs_nothing(classes):
    logits = (40 * torch.randn(2, classes, 8, 8)).requires_grad_()
    value = partial_cross_entropy(logits, torch.zeros(2, 8, 8, dtype=torch.uint8), (1, 3, 3, 3)[: max(classes, 2)])
    value.backward()
    assert value.item() == 0 and not logits.grad.any()


@pytest.mark.parametrize("classes", [1, 4])
def test_with_supervision_by_scribbles_neither_masks_nor_other_pixels_change_the_loss(classes):
    logits, scribble = scribbled(10, max(classes, 2))
    logits = logits[:, :classes]
    alone = config(supervision="scribbles")
    expected = partial_cross_entropy(logits, scribble, (1, 3, 3, 3)[: max(classes, 2)])
    noisy = torch.where((scribble > 0).unsqueeze(1), logits, 50 * torch.randn_like(logits))
    for mask in (torch.zeros_like(scribble), torch.randint(0, 16, scribble.shape, dtype=torch.uint8)):
        for ignoring in (False, True):
            assert training_loss(logits, labels_of(scribble, mask), alone, ignoring) == expected
            torch.testing.assert_close(training_loss(noisy, labels_of(scribble, mask), alone, ignoring), expected)


def test_half_precision_logits_of_several_classes_give_the_loss_of_full_precision():
    logits, mask = sample(11, 4, (1, 352, 480))
    logits = logits.bfloat16()
    for supervision in ("masks", "scribbles"):
        one = config(supervision=supervision)
        labels = labels_of(mask + 1, mask)
        torch.testing.assert_close(training_loss(logits, labels, one), training_loss(logits.float(), labels, one))
