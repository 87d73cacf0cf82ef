"""One fold of one config, trained right: data, augmentation, networks, losses, metrics and the fold loop.

The names below are loaded on first use, so that the pure parts (config, folds, metrics) load without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainable.config import make_config
    from trainable.data.decoded_images import open_data
    from trainable.data.folds import folds_of
    from trainable.training.fold import train_fold

__all__ = ["folds_of", "make_config", "open_data", "train_fold"]


def __getattr__(name: str) -> Any:
    if name == "make_config":
        from trainable.config import make_config

        return make_config
    if name == "open_data":
        from trainable.data.decoded_images import open_data

        return open_data
    if name == "folds_of":
        from trainable.data.folds import folds_of

        return folds_of
    if name == "train_fold":
        from trainable.training.fold import train_fold

        return train_fold
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
