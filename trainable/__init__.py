"""One fold of one config, trained right: data, augmentation, networks, losses, metrics and the fold loop.

The names below are loaded on first use, so that the pure parts (config, folds, metrics) load without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainable.config import make_config
    from trainable.data.decoded_images import open_data
    from trainable.data.folds import folds_of
    from trainable.training.fold import train_fold

__all__ = ["folds_of", "make_config", "open_data", "train_fold"]
SOURCES = {
    "folds_of": "data.folds",
    "make_config": "config",
    "open_data": "data.decoded_images",
    "train_fold": "training.fold",
}


def __getattr__(name: str) -> Any:
    if name in SOURCES:
        return getattr(import_module(f"{__name__}.{SOURCES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
