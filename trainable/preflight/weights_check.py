"""Checks that files of weights fit the encoders that would start from them, before the first fold trial is started."""

import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from trainable.config import Config, network_name
from trainable.errors import UserError
from trainable.machine.isolated import in_fresh_process, in_this_process
from trainable.storage.shared_file import SharedFile


def check_weights(
    configs: Iterable[Config],
    files: Mapping[str, SharedFile],
    channels: int,
    classes: int,
    run: Callable[..., Any] | None = None,
) -> None:
    """Raise one error for all networks that cannot start from their file; ``files`` are by the names in configs.

    ``run`` calls a function in a new process, as loading torch takes seconds and half a gigabyte.
    """
    kinds = {(c.network, c.inputs, c.weights_file): c for c in configs if c.weights_file is not None}
    if not kinds:
        return
    run = run or (in_this_process if "torch" in sys.modules else in_fresh_process)
    pairs = [(config, files[name]) for (_, _, name), config in kinds.items() if name is not None]
    try:
        found: list[str] = run(problems, pairs, channels, classes)
    except BrokenProcessPool:
        raise UserError("the process that checks files of weights was killed; is there enough memory?") from None
    if found:
        raise UserError("\n".join(dict.fromkeys(found)))


def problems(pairs: list[tuple[Config, SharedFile]], channels: int, classes: int) -> list[str]:
    """Why networks cannot start from their files; images have this number of channels."""
    from trainable.networks.registry import meta_network
    from trainable.networks.scribble_network import encoder_of
    from trainable.networks.weights_file import load_encoder, read_weights, source_of

    found = []
    for config, file in pairs:
        try:
            encoder = encoder_of(meta_network(config, channels, classes), source_of(file))
            weights = {name: tensor.to("meta") for name, tensor in read_weights(file).items()}
            load_encoder(encoder, weights, f"{source_of(file)}, {network_name(config.network)}")
        except UserError as problem:
            found.append(str(problem))
    return found
