"""The loss of the network's prediction: one forward pass, no other term."""

from torch import Tensor

from trainable.networks.registry import network_of
from trainable.recipes.recipe import Recipe


class Supervised(Recipe):
    """The usual recipe, and the only one of networks that have a loss of their own."""

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        own = network_of(self.config).loss
        if own is None:
            return self.objective(self.predict(images, labels), labels, images)
        with self.autocast():
            return own(self.network, images, labels)
