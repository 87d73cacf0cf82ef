"""The weight of each class in cross-entropy."""

from collections.abc import Sequence

from trainable.config import Config


def cross_entropy_weights(config: Config, classes: int) -> tuple[float, ...]:
    """The weights that a config gives; those of ``objective: wpce`` are ``inverse_frequencies`` of a fold."""
    if config.objective == "wpce":
        raise ValueError("the weights of objective = wpce come from the training images of a fold")
    if config.class_weights is not None:
        return config.class_weights
    other = 1.0 if config.loss in ("dice+bce", "ce") else config.pc
    return (1.0, *[other] * (classes - 1))


def inverse_frequencies(pixels: Sequence[int]) -> tuple[float, ...]:
    """A weight per class that is inverse to its number of pixels; their mean is 1."""
    inverse = [1 / count for count in pixels]
    return tuple(weight * len(inverse) / sum(inverse) for weight in inverse)
