"""Mask R-CNN (He et al., 2017) of torchvision: finds instances; the union of their masks is the prediction."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import roi_heads
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign, roi_align
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from trainable.config import Config
from trainable.data.dataset import IGNORED
from trainable.data.packed_labels import unpack
from trainable.networks.encoders import encoder_alone
from trainable.networks.instances import instances_of
from trainable.networks.scribble_network import Channels, ScribbleNetwork

LEVELS = ("0", "1", "2", "3")  # of the pyramid, of strides 4 to 32; a fifth one has stride 64
# Half of torchvision's, which are made for images of 800 pixels.
ANCHORS, CANONICAL = ((16,), (32,), (64,), (128,), (256,)), 112
RATIOS = (0.5, 1.0, 2.0)
# Per image: proposals before and after suppression, anchors and proposals that are learnt from, instances found.
BEFORE, AFTER, LEARNT_ANCHORS, LEARNT, DETECTIONS = 512, 256, 256, 128, 32
SCORE, OVERLAP = 0.05, 0.5  # of an instance: the least score, and the most overlap with a better one
IGNORABLE = 0.5  # share of ignored pixels above which a box is not learnt as background
SURE = 1e-6  # a probability is at least this, and at most 1 minus this

Target = dict[str, Tensor]


def mask_rcnn(config: Config, channels: Channels) -> nn.Module:
    return MaskRcnn(config, channels)


def instance_loss(network: ScribbleNetwork, images: Tensor, labels: Tensor) -> Tensor:
    """The sum of the paper's losses. Components are found on the host, so a step waits for its device."""
    scribble, mask = unpack(labels)
    targets = [_target(each, network.classes, images.device) for each in network.padded(mask).cpu()]
    core: Any = network.core
    losses: Tensor = core.losses(network.channels(images, scribble), targets)
    return losses


class MaskRcnn(nn.Module):
    """Takes channels that are normalised already, at their own size, so torchvision's transform is not used."""

    def __init__(self, config: Config, channels: Channels) -> None:
        super().__init__()
        width, classes = config.pyramid_width, max(2, channels.outputs)
        self.classes = classes
        self.encoder = encoder_alone(config, channels)
        self.pyramid = FeaturePyramidNetwork(self.encoder.out_channels[-len(LEVELS) :], width, LastLevelMaxPool())
        anchors = AnchorGenerator(ANCHORS, (RATIOS,) * len(ANCHORS))
        self.proposals = Proposals(
            anchors,
            RPNHead(width, anchors.num_anchors_per_location()[0]),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=LEARNT_ANCHORS,
            positive_fraction=0.5,
            pre_nms_top_n={"training": BEFORE, "testing": BEFORE},
            post_nms_top_n={"training": AFTER, "testing": AFTER},
            nms_thresh=0.7,
        )
        mask_predictor = MaskRCNNPredictor(width, width, classes)
        mask_predictor.mask_fcn_logits = nn.Sequential(nn.Dropout2d(config.dropout), mask_predictor.mask_fcn_logits)
        self.heads = roi_heads.RoIHeads(
            MultiScaleRoIAlign(LEVELS, 7, sampling_ratio=2, canonical_scale=CANONICAL),
            TwoMLPHead(width * 7 * 7, 4 * width),
            nn.Sequential(nn.Dropout(config.dropout), FastRCNNPredictor(4 * width, classes)),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=LEARNT,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=SCORE,
            nms_thresh=OVERLAP,
            detections_per_img=DETECTIONS,
            mask_roi_pool=MultiScaleRoIAlign(LEVELS, 14, sampling_ratio=2, canonical_scale=CANONICAL),
            mask_head=MaskRCNNHeads(width, (width,) * 4, dilation=1),
            mask_predictor=mask_predictor,
        )

    def forward(self, x: Tensor) -> Tensor:
        images, features = self._features(x)
        # Of these two modules alone, the flag chooses between losses and detections; dropout has its own.
        self.proposals.training = self.heads.training = False
        with torch.autocast(x.device.type, enabled=False):
            proposals, _ = self.proposals(images, features)
            detections, _ = self.heads(features, proposals, images.image_sizes)
        return torch.stack([self._logits(each, x.shape[-2:]) for each in detections])

    def losses(self, x: Tensor, targets: list[Target]) -> Tensor:
        """The losses of the proposals, of the boxes and their classes, and of the masks, added up."""
        images, features = self._features(x)
        sizes, heads = images.image_sizes, self.heads
        self.proposals.training = True
        with torch.autocast(x.device.type, enabled=False):
            proposals, losses = self.proposals(images, features, targets)
            proposals = [
                boxes[_countable(boxes, target["ignored"])] for boxes, target in zip(proposals, targets, strict=True)
            ]
            proposals, matched, labels, offsets = heads.select_training_samples(proposals, targets)
            predicted = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, proposals, sizes)))
            classified, regressed = roi_heads.fastrcnn_loss(*predicted, labels, offsets)
            positive = [torch.where(each > 0)[0] for each in labels]
            boxes = [each[where] for each, where in zip(proposals, positive, strict=True)]
            masks = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(features, boxes, sizes)))
            matched = [each[where] for each, where in zip(matched, positive, strict=True)]
            masked = mask_loss(masks, boxes, matched, targets)
        return sum(losses.values()) + classified + regressed + masked  # type: ignore[no-any-return]

    def _features(self, x: Tensor) -> tuple[ImageList, dict[str, Tensor]]:
        """In float32 at any precision: coordinates of boxes are too large for bf16."""
        maps = self.encoder(x)[-len(LEVELS) :]
        features = self.pyramid(dict(zip(LEVELS, maps, strict=True)))
        return ImageList(x, [tuple(x.shape[-2:])] * len(x)), {name: each.float() for name, each in features.items()}

    def _logits(self, found: dict[str, Tensor], size: torch.Size) -> Tensor:
        maps = found["scores"][:, None, None] * pasted(found["masks"][:, 0], found["boxes"], size)
        unions = [union(maps * (found["labels"] == number)[:, None, None]) for number in range(1, self.classes)]
        return union_logits(torch.stack(unions))


class Proposals(RegionProposalNetwork):
    """Of the anchors that no instance matches, those on ignored pixels are not learnt as background."""

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[Target]
    ) -> tuple[list[Tensor], list[Tensor]]:
        labels, boxes = super().assign_targets_to_anchors(anchors, targets)
        for label, anchor, target in zip(labels, anchors, targets, strict=True):
            label[(label == 0) & ~_countable(anchor, target["ignored"])] = -1
        return labels, boxes


def mask_loss(logits: Tensor, boxes: list[Tensor], matched: list[Tensor], targets: list[Target]) -> Tensor:
    """Binary cross-entropy of the masks (N, K, M, M) in their boxes, each of its own class, without ignored pixels."""
    side = logits.shape[-1]
    classes, truth, known = [], [], []
    for box, which, target in zip(boxes, matched, targets, strict=True):
        if len(box):
            classes.append(target["labels"][which])
            truth.append(_cut(target["masks"], box, which, side))
            known.append(_cut(1 - target["ignored"][None], box, torch.zeros_like(which), side))
    if not truth:
        return logits.sum() * 0
    own = logits[torch.arange(len(logits), device=logits.device), torch.cat(classes)]
    counted = torch.cat(known)
    values = F.binary_cross_entropy_with_logits(own, torch.cat(truth), counted, reduction="sum")
    return values / counted.sum().clamp(min=1)


def _cut(masks: Tensor, boxes: Tensor, which: Tensor, side: int) -> Tensor:
    """What is in each box of its mask, at the mask's resolution; torchvision's own function is half a pixel off."""
    places = torch.cat([which[:, None].to(boxes.dtype), boxes], dim=1)
    found: Tensor = roi_align(masks[:, None].float(), places, side, aligned=True)
    return found[:, 0]


def pasted(masks: Tensor, boxes: Tensor, size: torch.Size) -> Tensor:
    """Masks (N, M, M) of boxes (N, 4) as (N, H, W), 0 outside; all at once, unlike torchvision's function."""
    left, top, right, bottom = (side[:, None] for side in boxes.unbind(1))
    height, width = size
    x = (torch.arange(width, device=boxes.device) + 0.5 - left) / (right - left) * 2 - 1
    y = (torch.arange(height, device=boxes.device) + 0.5 - top) / (bottom - top) * 2 - 1
    grid = torch.stack([x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=-1)
    return F.grid_sample(masks[:, None], grid, align_corners=False)[:, 0]


def union(probabilities: Tensor) -> Tensor:
    """The probability of any of the instances (N, ...) at a pixel, 1 - prod(1 - p)."""
    return 1 - (1 - probabilities).prod(dim=0)


def union_logits(unions: Tensor) -> Tensor:
    """Logits of the probabilities (K - 1, H, W) of each class but the first: one of two classes, else K, all finite."""
    if len(unions) == 1:
        return torch.logit(unions, eps=SURE)
    background = (1 - unions).prod(dim=0, keepdim=True)
    return torch.cat([background, unions]).clamp(min=SURE).log()


def _target(mask: Tensor, classes: int, device: torch.device) -> Target:
    found = instances_of(mask.numpy(), classes)
    target = {"boxes": found.boxes, "labels": found.classes, "masks": found.masks}
    tensors = {name: torch.from_numpy(each).to(device) for name, each in target.items()}
    return tensors | {"ignored": (mask == IGNORED).to(device, torch.uint8)}


def _countable(boxes: Tensor, ignored: Tensor) -> Tensor:
    """Which boxes can be learnt as background: those with few ignored pixels, and always the one with fewest."""
    height, width = ignored.shape
    sums = F.pad(ignored.float().cumsum(0).cumsum(1), (1, 0, 1, 0))
    rounded = boxes.round().long()
    x0, x1 = (rounded[:, side].clamp(0, width) for side in (0, 2))
    y0, y1 = (rounded[:, side].clamp(0, height) for side in (1, 3))
    inside = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    share = inside / ((x1 - x0) * (y1 - y0)).clamp(min=1)
    countable = share <= IGNORABLE
    if len(boxes):
        countable[share.argmin()] = True
    return countable
