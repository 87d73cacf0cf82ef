"""What small networks minimise besides the cross-entropy on scribbles."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainable.images.method import ScribbledImage
from trainable.images.regions import classes_present

SCALE = 1e-7  # of beta, in equation 2 of "Learning or modelling?"
IMPOSSIBLE = -1e4  # added to the logit of a class without scribbles, whose probability is then exactly 0


def penalty(loss: Tensor, inputs: Tensor, beta: float, penalised: slice, axis: int) -> Tensor:
    """Double backpropagation: the L1 norm of the gradient of the loss with respect to some channels of the inputs."""
    (slopes,) = torch.autograd.grad(loss, inputs, create_graph=True)
    return SCALE * beta * slopes.transpose(axis, -1)[..., penalised].abs().sum()


def impossible_logits(images: Sequence[ScribbledImage], classes: int) -> Tensor:
    """(images, classes, 1): what is added to logits."""
    added = torch.full((len(images), classes, 1), IMPOSSIBLE)
    for number, image in enumerate(images):
        added[number, classes_present(image.scribble)] = 0
    return added
