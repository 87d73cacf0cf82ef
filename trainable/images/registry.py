"""The methods by their names in configs."""

from collections.abc import Callable

from trainable.config import ImageConfig
from trainable.images.method import Method
from trainable.images.methods.cnn import cnn
from trainable.images.methods.colour_distributions import ColourDistributions
from trainable.images.methods.finetune import Finetune
from trainable.images.methods.grabcut import GrabCut
from trainable.images.methods.nearest import Nearest
from trainable.images.methods.pixelwise import pixelwise
from trainable.images.methods.random_walker import RandomWalker
from trainable.images.methods.sam import Sam
from trainable.images.methods.unet import unet
from trainable.images.pretrained.network import PretrainedNetwork

# Methods that segment with a network that has seen other images.
WITH_NETWORK: dict[str, Callable[[ImageConfig, PretrainedNetwork], Method]] = {"finetune": Finetune, "sam": Sam}
OTHERS: dict[str, Callable[[ImageConfig], Method]] = {
    "nearest": Nearest,
    "grabcut": GrabCut,
    "random_walker": RandomWalker,
    "colour_distributions": ColourDistributions,
    "pixelwise": pixelwise,
    "cnn": cnn,
    "unet": unet,
}
METHODS = (*OTHERS, *WITH_NETWORK)


def build_method(config: ImageConfig, network: PretrainedNetwork | None = None) -> Method:
    if config.method not in WITH_NETWORK:
        return OTHERS[config.method](config)
    assert network is not None, f"method = {config.method} needs a network"
    return WITH_NETWORK[config.method](config, network)
