"""Images of a disk, and probabilities of it with noise of every pixel."""

import numpy as np


def picture(height, width, channels=3, seed=0):
    """A disk on a ground, both shaded and with some noise, and the disk's mask."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:height, :width]
    inside = (down - height / 2) ** 2 + (across - width / 2) ** 2 < (height / 3) ** 2
    image = np.where(inside, 170.0, 80.0) + 20 * across / width + rng.normal(0, 6, (channels, height, width))
    return np.moveaxis(image, 0, -1).clip(0, 255).astype(np.uint8), inside


def noisy(truth, classes, seed=0):
    """Probabilities that favour the true class by one logit, with noise of another."""
    logits = np.random.default_rng(seed).normal(0, 1, (classes, *truth.shape))
    logits += np.eye(classes)[truth.astype(int)].transpose(2, 0, 1)
    odds = np.exp(logits)
    return (odds / odds.sum(axis=0)).astype(np.float32)
