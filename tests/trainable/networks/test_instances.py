"""What Mask R-CNN is trained on, and how its instances become a probability map."""

import math

import numpy as np
import pytest
import torch
from tiny_networks import tiny_network

from trainable.config import make_config
from trainable.errors import UserError
from trainable.networks.cores import mask_rcnn
from trainable.networks.cores.mask_rcnn import instance_loss, mask_loss, pasted, union, union_logits
from trainable.networks.instances import MOST, SMALLEST, instances_of
from trainable.networks.registry import build_network
from trainable.training.fold import train_fold
from trainable.training.trial import FoldTrial

IGNORED = 15


def a_mask():
    """Class 1: 5x4 pixels, and 3x3, fewer than an instance has; class 2: 8x4; a row of ignored pixels."""
    mask = np.zeros((20, 30), np.uint8)
    mask[2:6, 3:8] = 1
    mask[16:19, 0:3] = 1
    mask[10:14, 20:28] = 2
    mask[9, 20:28] = IGNORED
    return mask


def test_instances_are_components_of_each_class_but_the_first_with_their_boxes():
    found = instances_of(a_mask(), 3)
    assert found.boxes.tolist() == [[20, 10, 28, 14], [3, 2, 8, 6]] and found.boxes.dtype == np.float32
    assert found.classes.tolist() == [2, 1]
    assert [int(mask.sum()) for mask in found.masks] == [32, 20] and found.masks.max() == 1
    np.testing.assert_array_equal(found.masks[1], (a_mask() == 1) & (np.arange(20)[:, None] < 10))


def test_touching_corners_are_one_instance_and_other_classes_are_not():
    mask = np.zeros((16, 24), np.uint8)
    mask[0:4, 0:4] = mask[4:8, 4:8] = 1
    mask[0:4, 4:8] = 2
    found = instances_of(mask, 3)
    assert found.classes.tolist() == [1, 2] and found.boxes[0].tolist() == [0, 0, 8, 8]


@pytest.mark.parametrize("value", [0, IGNORED])
def test_a_mask_without_components_has_no_instances(value):
    found = instances_of(np.full((8, 9), value, np.uint8), 4)
    assert found.boxes.shape == (0, 4) and found.masks.shape == (0, 8, 9) and len(found.classes) == 0


def test_the_largest_instances_are_kept_if_there_are_too_many():
    mask = np.zeros((60, 6 * (MOST + 6)), np.uint8)
    for number in range(MOST + 5):
        mask[: 4 + number % 50, 6 * number : 6 * number + 4] = 1
    areas = instances_of(mask, 2).masks.sum((1, 2))
    assert len(areas) == MOST and sorted(areas, reverse=True) == list(areas) and min(areas) > SMALLEST


def test_the_union_of_instances_is_worked_out_by_hand():
    # Scores .5 and .8; where both masks are 1: 1 - .5 * .2 = .9; where one is: .5 or .8; elsewhere 0.
    scores = torch.tensor([0.5, 0.8])[:, None]
    masks = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
    found = union(scores * masks)
    torch.testing.assert_close(found, torch.tensor([0.9, 0.5, 0.8, 0.0]))
    logits = union_logits(found.view(1, 1, 4))
    torch.testing.assert_close(logits[0, 0, :3], torch.tensor([math.log(9), 0.0, math.log(4)]))
    assert logits.isfinite().all() and logits[0, 0, 3] < -10


def test_the_background_of_several_classes_is_what_no_class_takes():
    # p1 = .9, p2 = .5: background .1 * .5 = .05; the softmax divides by .05 + .9 + .5.
    found = union_logits(torch.tensor([0.9, 0.5]).view(2, 1, 1)).softmax(dim=0).flatten()
    torch.testing.assert_close(found, torch.tensor([0.05, 0.9, 0.5]) / 1.45)
    certain = union_logits(torch.tensor([[1.0, 0.0], [1.0, 0.0]]).view(2, 1, 2))
    assert certain.isfinite().all() and certain[:, 0, 1].argmax() == 0 and certain[0, 0, 0] < -10


def test_no_instance_is_background_everywhere():
    assert union(torch.zeros(0, 3, 4)).tolist() == [[0] * 4] * 3
    assert pasted(torch.zeros(0, 28, 28), torch.zeros(0, 4), torch.Size((3, 4))).shape == (0, 3, 4)


def test_a_mask_is_pasted_into_its_box():
    mask = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    found = pasted(
        mask.repeat_interleave(4, 1).repeat_interleave(4, 2), torch.tensor([[2.0, 1.0, 10.0, 9.0]]), (10, 12)
    )
    expected = torch.zeros(10, 12)
    expected[1:5, 2:6] = 1
    torch.testing.assert_close(found[0], expected)


def a_target(ignored):
    mask = torch.zeros(1, 8, 8, dtype=torch.uint8)
    mask[0, :, :4] = 1
    return {"labels": torch.tensor([1]), "masks": mask, "ignored": ignored}


def test_the_mask_loss_is_worked_out_by_hand_and_leaves_out_ignored_pixels():
    # The left half of the box is the instance; all logits are 2, so -log(sigmoid(2)) there, -log(sigmoid(-2)) right.
    logits, box = torch.zeros(1, 2, 8, 8), [torch.tensor([[0.0, 0.0, 8.0, 8.0]])]
    logits[:, 1] = 2
    right, left = math.log1p(math.exp(2)), math.log1p(math.exp(-2))
    ignored = torch.zeros(8, 8, dtype=torch.uint8)
    which = [torch.tensor([0])]
    assert float(mask_loss(logits, box, which, [a_target(ignored)])) == pytest.approx((left + right) / 2)
    ignored[:, 4:] = 1
    assert float(mask_loss(logits, box, which, [a_target(ignored)])) == pytest.approx(left)
    ignored[:] = 1
    assert float(mask_loss(logits, box, which, [a_target(ignored)])) == 0


def test_boxes_on_ignored_pixels_are_not_learnt_as_background():
    ignored = torch.zeros(10, 10, dtype=torch.uint8)
    ignored[:, 5:] = 1
    boxes = torch.tensor([[0.0, 0, 5, 10], [0, 0, 10, 10], [4, 0, 10, 10], [6, 2, 9, 9], [-5, -5, 3, 3]])
    assert mask_rcnn._countable(boxes, ignored).tolist() == [True, True, False, False, True]
    assert mask_rcnn._countable(boxes, torch.ones_like(ignored)).sum() == 1


@pytest.mark.parametrize("ignored", [False, True])
def test_anchors_on_ignored_pixels_have_no_label_unless_they_match_an_instance(ignored):
    anchors = torch.tensor([[0.0, 0, 8, 8], [20, 0, 28, 8], [20, 20, 28, 28]])
    where = torch.zeros(32, 32, dtype=torch.uint8)
    where[:16] = int(ignored)
    target = {"boxes": anchors[:1], "ignored": where}
    proposals = build_network(tiny_network("mask-rcnn"), [100.0] * 3, [50.0] * 3).core.proposals
    labels, _ = proposals.assign_targets_to_anchors([anchors], [target])
    assert labels[0].tolist() == [1, -1 if ignored else 0, 0]


def batch(mask):
    images = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return images, mask.expand(2, 64, 64).contiguous()


@pytest.mark.parametrize("value", [0, IGNORED])
def test_images_without_instances_have_a_finite_loss_and_gradient(value):
    network = build_network(tiny_network("mask-rcnn"), [100.0] * 3, [50.0] * 3, seed=0)
    loss = instance_loss(network, *batch(torch.full((1, 64, 64), value, dtype=torch.uint8)))
    loss.backward()
    assert loss.isfinite() and all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_what_is_learnt_from_are_the_masks_alone_and_scribbles_are_seen(monkeypatch):
    network = build_network(tiny_network("mask-rcnn", dropout=0), [100.0] * 3, [50.0] * 3, seed=0)
    seen = []
    monkeypatch.setattr(type(network.core), "losses", lambda core, x, targets: seen.append((x, targets)))
    mask = torch.zeros(1, 64, 64, dtype=torch.uint8)
    mask[:, 8:24, 16:48] = 1
    images, labels = batch(mask)
    instance_loss(network, images, labels)
    instance_loss(network, images, labels | 2 << 4)
    (plain, targets), (scribbled, same) = seen
    assert targets[0]["boxes"].tolist() == same[1]["boxes"].tolist() == [[16, 8, 48, 24]]
    assert plain[:, 3].unique().tolist() == [0] and scribbled[:, 3].unique().tolist() == [1]
    assert torch.equal(plain[:, :3], scribbled[:, :3])


def test_masks_are_padded_as_images_are(monkeypatch):
    network = build_network(tiny_network("mask-rcnn"), [100.0] * 3, [50.0] * 3, seed=0)
    monkeypatch.setattr(type(network.core), "losses", lambda core, x, targets: seen.extend([x, targets]))
    seen = []
    mask = torch.zeros(1, 64, 50, dtype=torch.uint8)
    mask[:, 20:40, 10:30] = 1
    instance_loss(network, torch.zeros(1, 64, 50, 3, dtype=torch.uint8), mask)
    assert seen[0].shape[2:] == (64, 64) and seen[1][0]["boxes"].tolist() == [[17, 20, 37, 40]]


def test_scribbles_cannot_supervise_it():
    with pytest.raises(UserError, match=r"^supervision = scribbles: does not go with architecture = mask-rcnn: .*$"):
        make_config({"architecture": "mask-rcnn", "supervision": "scribbles"})


def test_recipes_that_need_logits_are_refused():
    with pytest.raises(UserError, match=r"^recipe = mixup: does not go with architecture = mask-rcnn: .* of its own$"):
        make_config({"architecture": "mask-rcnn", "recipe": "mixup"})


def test_bf16_gives_nearly_the_same_map():
    network = build_network(tiny_network("mask-rcnn"), [100.0] * 3, [50.0] * 3, seed=0).eval()
    images, scribble = batch(torch.zeros(1, 64, 64, dtype=torch.uint8))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = network(images, scribble)
        loss = instance_loss(network, images, scribble)
    assert logits.dtype == torch.float32 and logits.isfinite().all() and loss.isfinite()


def test_a_few_steps_lower_its_loss_and_the_validation_loss_is_that_of_its_map(small_data, small_folds, tmp_path):
    config = tiny_network("mask-rcnn", steps=24, evaluations=4, dropout=0, augmentation="none", learning_rate=3e-3)
    reports = list(train_fold(config, small_data, small_folds, 0, tmp_path, device="cpu", workers=0))
    assert reports[-1].loss < 0.8 * reports[0].loss
    assert all(0 < report.validation_loss < 10 for report in reports)


def test_a_fold_of_four_classes_with_grey_images_trains(class_data, class_folds):
    trial = FoldTrial(tiny_network("mask-rcnn"), class_data, class_folds, 0, torch.device("cpu"))
    trial.train_step(*trial.stream[0])
    assert trial._losses[0].isfinite() and math.isfinite(trial.evaluate().validation_loss)
