"""mixup (Zhang et al., 2018): blended pairs of images, and the losses of both label sets weighted alike."""

from torch import Tensor, nn

from trainable.config import Config
from trainable.data.packed_labels import unpack
from trainable.networks.scribble_network import ScribbleNetwork
from trainable.recipes.recipe import Autocast, Objective, Recipe
from trainable.recipes.shares import BetaShares


class Blended(nn.Module):
    """A core that sees its channels blended with those of the sample before: image and scribbles alike."""

    share: Tensor

    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core = core

    def forward(self, channels: Tensor) -> Tensor:
        logits: Tensor = self.core(blend(channels, self.share))
        return logits


class Mixup(Recipe):
    """Every image is mixed with the one before it; the share is one number per step."""

    def __init__(self, network: ScribbleNetwork, config: Config, objective: Objective, autocast: Autocast) -> None:
        super().__init__(network, config, objective, autocast)
        self.shares = BetaShares(config.mix_alpha).to(network.mean.device)
        self.blended = Blended(network.core)
        self.mixed_network = network.with_core(self.blended)

    def compiled(self) -> list[nn.Module]:
        return [self.network.core]

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        share = self.blended.share = self.shares()
        with self.autocast():
            logits = self.mixed_network(images, unpack(labels)[0])
        mixed = blend(images.float(), share)
        own, other = (self.objective(logits, each, mixed) for each in (labels, labels.roll(1, 0)))
        loss: Tensor = share * own + (1 - share) * other
        return loss


def blend(values: Tensor, share: Tensor) -> Tensor:
    """The given share of each sample, and the rest of the one before it."""
    return share * values + (1 - share) * values.roll(1, 0)
