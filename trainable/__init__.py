"""One fold of one config, trained right: data, augmentation, networks, losses, metrics and the fold loop.

The names below are loaded on first use, so that the pure parts (config, folds, metrics) load without torch.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainable.config import Config, make_config, only_with
    from trainable.data.decoded_images import open_data
    from trainable.data.folds import folds_of
    from trainable.networks.registry import Network
    from trainable.networks.scribble_network import Channels
    from trainable.recipes.recipe import Recipe
    from trainable.training.fold import train_fold

# How often a thread of torch looks whether the others are done before it sleeps; read when torch is imported. By itself
# it spins for milliseconds, in vain where other programs use the same cores (benchmarks/busy_cores.py).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")

__all__ = ["Channels", "Config", "Network", "Recipe", "folds_of", "make_config", "only_with", "open_data", "train_fold"]
SOURCES = {
    "Channels": "networks.scribble_network",
    "Config": "config",
    "Network": "networks.registry",
    "Recipe": "recipes.recipe",
    "only_with": "config",
    "folds_of": "data.folds",
    "make_config": "config",
    "open_data": "data.decoded_images",
    "train_fold": "training.fold",
}


def __getattr__(name: str) -> Any:
    if name in SOURCES:
        return getattr(import_module(f"{__name__}.{SOURCES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
