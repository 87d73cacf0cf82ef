"""Mean teacher (Tarvainen and Valpola, 2017): agree with an average of the own weights under other noise."""

import math

import torch
from torch import Tensor, nn

from trainable.config import Config
from trainable.data.packed_labels import unpack
from trainable.networks.ema import Ema
from trainable.networks.scribble_network import ScribbleNetwork, probabilities_of
from trainable.objectives.terms.means import mean_where
from trainable.recipes.recipe import Autocast, Objective, Recipe


class MeanTeacher(Recipe):
    weight: Tensor

    def __init__(self, network: ScribbleNetwork, config: Config, objective: Objective, autocast: Autocast) -> None:
        super().__init__(network, config, objective, autocast)
        self.average = Ema(network, config.teacher_decay)
        self.teacher = self.average.network.eval()
        self.register_buffer("weight", torch.zeros((), device=network.mean.device), persistent=False)

    def set_step(self, step: int) -> None:
        self.average.set_step(step)
        self.weight.fill_(self.config.consistency * ramp(step, self.config.consistency_rampup * self.config.steps))

    def after_update(self) -> None:
        self.average.update()

    def averages(self) -> list[ScribbleNetwork]:
        return [self.teacher]

    def compiled(self) -> list[nn.Module]:
        return [self.network, self.teacher]

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        logits = self.predict(self._noisy(images), labels)
        with torch.no_grad(), self.autocast():
            target = self.teacher(self._noisy(images), unpack(labels)[0])
        difference = (probabilities_of(logits) - probabilities_of(target)).square().mean(1, keepdim=True)
        return self.objective(logits, labels, images) + self.weight * mean_where(difference, self.known(labels))

    def _noisy(self, images: Tensor) -> Tensor:
        """With Gaussian noise, in standard deviations of each channel."""
        noise = torch.randn(images.shape, device=images.device)
        return images + self.config.input_noise * self.network.std * noise


def ramp(step: int, length: float) -> float:
    """From exp(-5) at the start to 1 after ``length`` steps."""
    left = 1 - min(1.0, step / length) if length else 0.0
    return math.exp(-5 * left * left)
