"""The probabilities of an image from a network's logits."""

import torch
import torch.nn.functional as F
from torch import Tensor

from trainable.data.dataset import Pixels
from trainable.images.method import Probabilities
from trainable.images.regions import classes_present


def class_logits(logits: Tensor, classes: int) -> Tensor:
    """A logit per class (B, K, H, W), of two classes from the one logit of networks."""
    logits = logits.float()
    return torch.cat([torch.zeros_like(logits), logits], dim=1) if classes == 2 else logits


def predicted(logits: Tensor, scribble: Pixels, classes: int) -> Probabilities:
    """Probabilities (K, H, W) at the size of the scribbles; those of classes without scribbles are 0."""
    present = classes_present(scribble)
    known = class_logits(logits, classes)[:, present].softmax(1)
    enlarged = F.interpolate(known, scribble.shape, mode="bilinear", align_corners=False)[0]
    found = torch.zeros(classes, *scribble.shape)
    found[present] = enlarged.cpu()
    return found.numpy()
