"""The training loss of a config, on masks or on scribbles alone.

Losses are computed in float32 at any network precision: sums over 170,000 pixels are too large for bf16. Nothing here
waits for the device: weights are numbers or comparisons, never tensors that are made from lists.
"""

from collections.abc import Sequence

from torch import Tensor

from trainable.config import Config
from trainable.data.dataset import IGNORED
from trainable.data.labelled import SCRIBBLES
from trainable.data.packed_labels import unpack
from trainable.objectives.mask_loss import class_loss, segmentation_loss
from trainable.objectives.scribble_loss import scribble_loss


def training_loss(
    logits: Tensor,
    labels: Tensor,
    config: Config,
    ignoring: bool = False,
    images: Tensor | None = None,
    class_weights: Sequence[float] | None = None,
) -> Tensor:
    """The loss of logits (N, C, H, W) and packed labels (N, H, W), averaged over the batch.

    One channel of logits stands for two classes. ``ignoring``: masks may have pixels that count for nothing. ``images``
    (N, H, W, C), as bytes, are needed by terms that look at them, ``class_weights`` by ``objective: wpce``.
    """
    scribble, mask = unpack(labels)
    if config.supervision == SCRIBBLES:
        return scribble_loss(logits, scribble, images, config, class_weights)
    if logits.shape[1] > 1:
        return class_loss(logits, mask, config)
    known = (mask != IGNORED).unsqueeze(1) if ignoring else None
    return segmentation_loss(logits, mask.unsqueeze(1), config, known)
