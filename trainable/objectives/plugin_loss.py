"""A check of a plugin's region loss on small tensors, before the first fold trial is started."""

import torch

from trainable.config import Config, explained, is_in
from trainable.errors import UserError
from trainable.objectives.mask_loss import region_loss

SAMPLES, CHANNELS = 2, 3


def try_loss(config: Config) -> None:
    """Raise an error if it fails, or is not one number per sample and channel with a gradient."""
    if config.loss not in config.parts.losses:
        return
    logits = torch.linspace(-2, 2, SAMPLES * CHANNELS * 16).view(SAMPLES, CHANNELS, 4, 4).requires_grad_()
    try:
        found = region_loss(config)(logits.sigmoid(), (logits.detach() > 1).float())
        shape = tuple(found.shape)
        found.sum().backward()  # type: ignore[no-untyped-call]
    except Exception as error:
        plugin = next((each for each in config.plugins if is_in(each, error)), config.plugins[0])
        raise UserError(f"loss = {config.loss!r}: fails ({explained(plugin, error)})") from error
    if shape != (SAMPLES, CHANNELS):
        wanted = f"{(SAMPLES, CHANNELS)} for {SAMPLES} samples and {CHANNELS} channels"
        raise UserError(f"loss = {config.loss!r}: must be a number per sample and channel, {wanted}, not {shape}")
    if logits.grad is None or not bool(logits.grad.isfinite().all()):
        raise UserError(f"loss = {config.loss!r}: has no finite gradient")
