"""Networks by name: the core of each, what is particular about it, and the network built around it."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from huggingface_hub import constants
from torch import Tensor, nn

from trainable.config import STRIDE, WEIGHTS, Config, explained, is_in
from trainable.errors import UserError
from trainable.networks.cores import deeplabv3plus as deeplab
from trainable.networks.cores.attention_resunet import attention_resunet
from trainable.networks.cores.deeplabv3plus import deeplabv3plus
from trainable.networks.cores.exmod_unet import exmod_unet
from trainable.networks.cores.mask_rcnn import instance_loss, mask_rcnn
from trainable.networks.cores.resunet import resunet
from trainable.networks.cores.sam import sam
from trainable.networks.cores.segformer import segformer
from trainable.networks.cores.unet import unet
from trainable.networks.cores.unet_plain import unet_plain
from trainable.networks.cores.unetplusplus import unetplusplus
from trainable.networks.cores.upernet import upernet
from trainable.networks.encoders import needs_hub
from trainable.networks.hub import cache_alone_if_silent
from trainable.networks.packaged_weights import package_of
from trainable.networks.scribble_network import Channels, ScribbleNetwork, channels_of

USUAL_SIZE = (480, 352)  # stands for the size of images that are not known yet


@dataclass(frozen=True)
class Network:
    """A kind of network: how its core is built, and what is particular about it.

    ``stride`` is the number that both sides of an image are padded to a multiple of. ``no_onnx`` says why the network
    cannot be exported to ONNX, as in "because its boxes are many or few". ``loss`` takes the network, images and packed
    labels of a step, if the network is not trained on its logits. ``waits``: a step waits for its device, so it cannot
    be captured as a CUDA graph; the configuration must refuse that. ``needs`` is an optional package without which it
    cannot be built, which the extra of the network's name installs. ``uses``: hyperparameters of built-in networks
    that a network of a plugin has as well, such as the encoder.
    """

    build: Callable[[Config, Channels], nn.Module]
    stride: Callable[[Config], int]
    no_onnx: str | None = None
    loss: Callable[[ScribbleNetwork, Tensor, Tensor], Tensor] | None = None
    waits: bool = False
    needs: str | None = None
    uses: tuple[str, ...] = ()


def _fixed(stride: int) -> Callable[[Config], int]:
    return lambda config: stride


def _of_depth(config: Config) -> int:
    stride: int = 2**config.depth
    return stride


# A new architecture is a file in cores/, its entry in this table and its name in Config.architecture.
ARCHITECTURES: dict[str, Network] = {
    "unet": Network(unet, _fixed(STRIDE)),
    "unetplusplus": Network(unetplusplus, _fixed(STRIDE)),
    "deeplabv3plus": Network(deeplabv3plus, _fixed(deeplab.STRIDE)),
    "segformer": Network(segformer, _fixed(STRIDE)),
    "upernet": Network(upernet, _fixed(STRIDE)),
    "unet-plain": Network(unet_plain, _of_depth),
    "resunet": Network(resunet, _of_depth),
    "attention-resunet": Network(attention_resunet, _of_depth),
    "exmod-unet": Network(exmod_unet, _of_depth),
    "mask-rcnn": Network(
        mask_rcnn,
        _fixed(STRIDE),
        no_onnx="because the number of instances differs from image to image",
        loss=instance_loss,
        waits=True,
    ),
    "sam": Network(
        sam, _fixed(1), no_onnx="because exporting it would fix the number of images per batch", needs="transformers"
    ),
}


def network_of(config: Config) -> Network:
    """The kind of network that a config names, built-in or of a plugin."""
    network: Network = config.parts.networks.get(config.architecture) or ARCHITECTURES[config.architecture]
    return network


def build_network(
    config: Config, mean: list[float], std: list[float], seed: int | None = None, classes: int = 2
) -> ScribbleNetwork:
    """Build the network of a config; its initial weights depend on ``seed`` alone.

    A file of weights is not read here, but by a fold trial that starts from it. ``mean`` and ``std`` have a value per
    channel of the image.
    """
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        core = _build_core(config, channels_of(config.inputs, len(mean), classes))
    stride = network_of(config).stride(config)
    network = ScribbleNetwork(core, mean, std, classes, config.inputs, stride)
    return network.to(memory_format=torch.channels_last)


def try_network(config: Config) -> int:
    """Raise an error if the network cannot be built or cannot run at the config's size; nothing is calculated.

    Returns the bytes of its weights.
    """
    network = meta_network(config)
    size = sum(int(tensor.nbytes) for tensor in network.state_dict().values())
    if network_of(config).loss is not None:
        return size
    width, height = USUAL_SIZE if isinstance(config.size, str) else config.size
    images = torch.zeros(1, height, width, 3, dtype=torch.uint8, device="meta")
    alone = config.batch_size == 1  # a batch norm that sees a single value is an error in training only
    try:
        network.train(alone)(images, images[..., 0])
    except Exception as error:
        where = f" at {width}x{height}{' with batch_size = 1' if alone else ''}"
        raise _cannot_be_built(config, error, where) from error
    return size


def meta_network(config: Config, channels: int = 3, classes: int = 2) -> ScribbleNetwork:
    """The network of a config with shapes alone: torch's meta device has no values."""
    bare, colours = config.without_weights(), ([0.0] * channels, [1.0] * channels)
    try:
        with torch.device("meta"):  # some encoders allocate their first convolution on the CPU all the same
            return build_network(bare, *colours, classes=classes).to("meta")
    except UserError:  # some encoders read values while they are built
        return build_network(bare, *colours, classes=classes).to("meta")


def fetch_weights(configs: Iterable[Config]) -> None:
    """Download the pretrained weights of these configs into the hub's cache; raises if some are not available."""
    kinds = ("architecture", "encoder", "sam_size", *WEIGHTS)
    started = {tuple(getattr(config, name) for name in kinds): config for config in configs if config.downloaded}
    for config in started.values():
        build_network(config, [0.0] * 3, [1.0] * 3)


def _build_core(config: Config, channels: Channels) -> nn.Module:
    needs = network_of(config).needs
    if needs is not None and find_spec(needs) is None:
        raise UserError(
            f"architecture = {config.architecture}: needs the package {needs}; "
            f"install it with: pip install 'scribble-search[{config.architecture}]'"
        )
    try:
        with cache_alone_if_silent() if needs_hub(config) else nullcontext():
            return network_of(config).build(config, channels)
    except UserError:
        raise
    except Exception as error:
        if needs_hub(config):
            package = ", install scribble-search[weights]" if package_of(config.encoder) else ""
            raise UserError(
                f"encoder_weights = {config.encoder_weights!r}: the weights of {config.encoder!r} are not available "
                f"here ({_cause(error)}); put them into the hub's cache {constants.HF_HUB_CACHE}{package}, give a file "
                "of weights, or use encoder_weights=none"
            ) from error
        raise _cannot_be_built(config, error) from error


def _cannot_be_built(config: Config, error: Exception, where: str = "") -> UserError:
    if config.has("encoder"):
        text = f"encoder = {config.encoder!r}: cannot be the encoder of a {config.architecture}"
    else:
        text = f"architecture = {config.architecture!r}: cannot be built"
    return UserError(f"{text}{where} ({_cause(error, config)})")


def _cause(error: Exception, config: Config | None = None) -> str:
    """The first line of an error, which may have none; of a plugin's network, also the line of its file."""
    for plugin in () if config is None else config.plugins:
        if is_in(plugin, error):
            return explained(plugin, error)
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
