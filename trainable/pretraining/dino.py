"""Self-distillation without labels (DINO): the projected encoder, the loss, and signs of a collapse."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainable.printing import digits

BOTTLENECK = 256
CENTRE_DECAY = 0.9
LEAST_INFORMATION = 0.005  # in nats; stages that learn begin above 0.01 and reach 0.1 to 0.5


class Projected(nn.Module):
    """An encoder with a projection: its last feature map averaged, an MLP, and cosines to K learnt directions.

    ``shape`` is that of an input: channels, height, width.
    """

    def __init__(self, encoder: nn.Module, shape: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(
            nn.Linear(_width(encoder, shape), outputs),
            nn.GELU(),
            nn.Linear(outputs, outputs),
            nn.GELU(),
            nn.Linear(outputs, BOTTLENECK),
        )
        self.directions = nn.Parameter(torch.randn(outputs, BOTTLENECK))

    def features(self, inputs: Tensor) -> Tensor:
        last: Tensor = self.encoder(inputs)[-1]
        return last.mean((2, 3))

    def project(self, features: Tensor) -> Tensor:
        """(B, K), not to be computed in half precision."""
        return F.linear(F.normalize(self.head(features.float())), F.normalize(self.directions))


def _width(encoder: nn.Module, shape: tuple[int, int, int]) -> int:
    """The channels of an encoder's last feature map."""
    was = encoder.training
    with torch.no_grad():
        last: Tensor = encoder.eval()(torch.zeros(1, *shape))[-1]
    encoder.train(was)
    return last.shape[1]


def sharpened(teacher: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """The teacher's probabilities, centred and sharpened."""
    return ((teacher - centre) / temperature).softmax(-1)


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The mean cross-entropy of every student view with the teacher's views, except those of the same view.

    ``student`` is (V, B, K), ``teacher`` (2, B, K) holds probabilities of its first two views.
    """
    views, batch, _ = student.shape
    entropies = -torch.einsum("tbk,vbk->tv", teacher, (student / temperature).log_softmax(-1)) / batch
    others = 1 - torch.eye(len(teacher), views, device=student.device)
    return (entropies * others).sum() / (len(teacher) * (views - 1))


@dataclass(frozen=True)
class Signs:
    """What an epoch says about the teacher's output: 0 and log K are the least and the most of both entropies.

    ``entropy`` is that of an output on average, ``spread`` that of a step's average output, which a drift from step to
    step does not raise, and ``divergence`` (Kullback and Leibler's) how far the student is from the teacher.
    """

    loss: float
    entropy: float
    spread: float
    outputs: int

    @property
    def divergence(self) -> float:
        return self.loss - self.entropy

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss)

    @property
    def collapsed(self) -> bool:
        """Whether the output is the same for every image, uniform or not."""
        return self.spread - self.entropy < LEAST_INFORMATION

    @property
    def sharp(self) -> bool:
        """Whether an output is nearer to one-hot than to uniform."""
        return self.entropy < math.log(self.outputs) / 2

    def __str__(self) -> str:
        most = math.log(self.outputs)
        return (
            f"loss {digits(self.loss)}, entropy {digits(self.entropy)} of at most {digits(most)} "
            f"(of the mean output {digits(self.spread)}), KL {digits(self.divergence)}"
            + (", the same for every image" if self.collapsed else "")
        )


class Sums:
    """Signs of the epoch so far, added up on the device."""

    def __init__(self, outputs: int, device: torch.device) -> None:
        self.outputs = outputs
        self.values = torch.zeros(4, device=device)

    def add(self, loss: Tensor, teacher: Tensor) -> None:
        rows = teacher.flatten(0, 1)
        entropy, spread = _entropy(rows).mean(), _entropy(rows.mean(0))
        self.values += torch.stack([torch.ones_like(loss), loss, entropy, spread]).detach()

    def signs(self) -> Signs:
        """This waits for the device."""
        count, loss, entropy, spread = self.values.tolist()
        return Signs(loss / count, entropy / count, spread / count, self.outputs)

    def clear(self) -> None:
        self.values.zero_()


def _entropy(probabilities: Tensor) -> Tensor:
    found: Tensor = torch.special.xlogy(probabilities, probabilities).sum(-1)
    return -found
