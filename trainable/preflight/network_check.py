"""Checks that networks can be built and see images of their size, before the first fold trial is started.

This needs torch, which takes seconds and half a gigabyte to load, so it runs in a separate process unless torch is
loaded already, on torch's meta device; successful builds are cached with the decoded images.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trainable.config import Config, own_hyperparameters
from trainable.errors import UserError
from trainable.machine.isolated import in_fresh_process, in_this_process
from trainable.printing import progress_bar
from trainable.storage.atomic_files import cache_folder, write_json

FILE = "networks.json"
PACKAGES = ("torch", "segmentation-models-pytorch", "timm")


def check_networks(configs: Iterable[Config], run: Callable[..., Any] | None = None) -> None:
    """Raise one error for all networks that cannot be built. ``run`` calls a function in a new process."""
    run = run or (in_this_process if "torch" in sys.modules else in_fresh_process)
    by_kind = {_kind(config): config for config in configs}
    built = _recall()
    new = [kind for kind in by_kind if kind not in built]
    if not new:
        return
    with progress_bar("checking the networks") as progress:
        progress(0, len(new))
        try:
            found: list[str | int] = run(examined, [by_kind[kind] for kind in new])
        except BrokenProcessPool:
            raise UserError("the process that checks the networks was killed; is there enough memory?") from None
        progress(len(new), len(new))
    _remember(built | {kind: size for kind, size in zip(new, found, strict=True) if isinstance(size, int)})
    if problems := [problem for problem in found if isinstance(problem, str)]:
        raise UserError("\n".join(dict.fromkeys(problems)))


def weight_bytes(configs: Iterable[Config]) -> dict[str, int]:
    """The bytes of the weights of each config's network, by the config's id; networks that fail are an error."""
    wanted = list(configs)
    check_networks(wanted)
    sizes = _recall()
    return {config.id: sizes[kind] for config in wanted if (kind := _kind(config)) in sizes}


def examined(configs: list[Config]) -> list[str | int]:
    """The bytes of each config's network, or what is wrong with it or a plugin's loss apart from pretrained weights."""
    from trainable.networks.registry import try_network
    from trainable.objectives.plugin_loss import try_loss

    found: list[str | int] = []
    for config in configs:
        try:
            size = try_network(config)
            try_loss(config)
            found.append(size)
        except UserError as problem:
            found.append(str(problem))
    return found


def _kind(config: Config) -> str:
    own = own_hyperparameters(config, "loss")
    loss = [("loss", config.loss), *own.items()] if config.loss in config.parts.losses else []
    alone = [("batch_size", 1)] if config.batch_size == 1 else []  # which a batch norm may not be trained with
    return " ".join(str(value) for _, value in (*config.network, ("size", config.size), *loss, *alone))


def _recall() -> dict[str, int]:
    """The bytes of the networks that these versions have built; a damaged file counts as empty."""
    try:
        document = json.loads(_path().read_text())
        built = {str(kind): int(size) for kind, size in document["bytes"].items()}
        return built if document["versions"] == _versions() else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _remember(built: Mapping[str, int]) -> None:
    write_json(_path(), {"versions": _versions(), "bytes": dict(sorted(built.items()))})


def _path() -> Path:
    return cache_folder() / FILE


def _versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}
