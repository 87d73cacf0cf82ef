"""The loss on scribbles alone as a sum of weighted terms."""

import pytest
import torch
from conftest import small_config

from trainable.objectives.class_weights import cross_entropy_weights, inverse_frequencies
from trainable.objectives.losses import training_loss
from trainable.objectives.scribble_loss import partial_cross_entropy
from trainable.objectives.terms.gated_crf import gated_crf
from trainable.objectives.terms.regularisers import entropy, intensity_variance, total_variation

TERMS = ("lambda_crf", "lambda_entropy", "lambda_tv", "lambda_ms")


def config(**values):
    return small_config(supervision="scribbles", **values)


def batch(classes, channels=1, shares=(0.3, 0.0, 1.0), seed=0):
    """Logits, packed labels with scribbles on these shares of each sample, and images as bytes."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(shares), 8, 8)
    logits = 2 * torch.randn(shape[0], classes, *shape[1:], generator=generator)
    scribble = 1 + torch.randint(0, max(2, classes), shape, generator=generator)
    drawn = torch.rand(shape, generator=generator) < torch.tensor(shares).view(-1, 1, 1)
    images = torch.randint(0, 256, (*shape, channels), generator=generator).to(torch.uint8)
    return logits, (scribble * drawn).to(torch.uint8) << 4, images


def loss(logits, labels, images, class_weights=None, **values):
    return training_loss(logits, labels, config(**values), False, images, class_weights)


@pytest.mark.parametrize("classes", [2, 4])
def test_each_term_is_added_with_its_weight(classes):
    logits, labels, images = batch(classes, 3)
    probabilities, intensity = logits.softmax(1), images.permute(0, 3, 1, 2) / 255
    expected = {
        "lambda_crf": gated_crf(probabilities, intensity, 2, 3.0, 0.2),
        "lambda_entropy": entropy(logits.log_softmax(1), labels == 0),
        "lambda_tv": total_variation(probabilities),
        "lambda_ms": intensity_variance(probabilities, intensity),
    }
    window = {"crf_radius": 2, "crf_sigma_xy": 3.0, "crf_sigma_intensity": 0.2}
    alone = loss(logits, labels, images)
    torch.testing.assert_close(alone, partial_cross_entropy(logits, labels >> 4, (1, 3, 3, 3)[:classes]))
    for name, term in expected.items():
        assert term > 0
        torch.testing.assert_close(loss(logits, labels, images, **window, **{name: 0.4}), alone + 0.4 * term)
    every = loss(logits, labels, images, **window, **dict.fromkeys(TERMS, 2.0))
    torch.testing.assert_close(every, alone + 2 * sum(expected.values()))


@pytest.mark.parametrize("term", TERMS)
def test_one_logit_costs_the_same_as_two(term):
    logits, labels, images = batch(1)
    pair = torch.cat([torch.zeros_like(logits), logits], 1)
    found, expected = (loss(each, labels, images, **{term: 1.0}) for each in (logits, pair))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("classes", [1, 4])
def test_samples_without_scribbles_are_in_the_terms_without_labels_only(classes, term):
    logits, labels, images = batch(classes, shares=(0.0, 0.0))
    logits.requires_grad_()
    value = loss(logits, labels, images, **{term: 1.0})
    value.backward()
    assert value > 0 and all(sample.any() for sample in logits.grad)


@pytest.mark.parametrize("classes", [1, 4])
def test_scribbled_pixels_have_no_part_in_the_entropy(classes):
    logits, labels, images = batch(classes)
    logits.requires_grad_()
    values = [loss(logits, labels, images, lambda_entropy=weight) for weight in (0.0, 1.0)]
    (gradient,) = torch.autograd.grad(values[1] - values[0], logits)
    drawn = (labels > 0).unsqueeze(1).expand_as(gradient)
    assert not gradient[drawn].any() and gradient[~drawn].any()


@pytest.mark.parametrize("classes", [1, 4])
def test_logits_far_out_have_finite_gradients(classes):
    logits, labels, images = batch(classes)
    logits = (500 * logits).requires_grad_()
    loss(logits, labels, images, **dict.fromkeys(TERMS, 1.0)).backward()
    assert torch.isfinite(logits.grad).all()


def test_half_precision_logits_give_the_loss_of_full_precision():
    logits, labels, images = batch(4)
    terms = dict.fromkeys(TERMS, 1.0)
    full = loss(logits.bfloat16().float(), labels, images, **terms)
    torch.testing.assert_close(loss(logits.bfloat16(), labels, images, **terms), full)


@pytest.mark.parametrize("term", ["lambda_crf", "lambda_ms"])
def test_terms_that_look_at_images_need_them(term):
    logits, labels, _ = batch(4)
    with pytest.raises(ValueError, match="pass them to the loss"):
        loss(logits, labels, None, **{term: 0.1})


def test_masks_change_no_term():
    logits, labels, images = batch(4)
    terms = dict.fromkeys(TERMS, 1.0)
    assert loss(logits, labels | 15, images, **terms) == loss(logits, labels, images, **terms)


def test_weights_by_frequency_are_inverse_and_have_a_mean_of_1():
    # 1/2, 1/4 and 1/8 in proportion 4 : 2 : 1.
    assert inverse_frequencies([2, 4, 8]) == pytest.approx((12 / 7, 6 / 7, 3 / 7))


@pytest.mark.parametrize("classes", [1, 4])
def test_weighted_partial_cross_entropy_takes_the_weights_of_the_fold(classes):
    logits, labels, images = batch(classes)
    weights = (0.2, 0.8, 1.0, 2.0)[: max(2, classes)]
    found = loss(logits, labels, images, weights, objective="wpce")
    assert found == partial_cross_entropy(logits, labels >> 4, weights) != loss(logits, labels, images)
    with pytest.raises(ValueError, match="training images of a fold"):
        cross_entropy_weights(config(objective="wpce"), 4)
