"""The methods by their names in configs."""

from collections.abc import Callable

from trainable.config import ImageConfig
from trainable.images.method import Method
from trainable.images.methods.cnn import cnn
from trainable.images.methods.colour_distributions import ColourDistributions
from trainable.images.methods.grabcut import GrabCut
from trainable.images.methods.nearest import Nearest
from trainable.images.methods.pixelwise import pixelwise
from trainable.images.methods.random_walker import RandomWalker
from trainable.images.methods.unet import unet

METHODS: dict[str, Callable[[ImageConfig], Method]] = {
    "nearest": Nearest,
    "grabcut": GrabCut,
    "random_walker": RandomWalker,
    "colour_distributions": ColourDistributions,
    "pixelwise": pixelwise,
    "cnn": cnn,
    "unet": unet,
}


def build_method(config: ImageConfig) -> Method:
    return METHODS[config.method](config)
