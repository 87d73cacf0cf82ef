"""Decides what to train next: policies that prune over steps and folds, and the engine that runs them on Ray.

``launch`` and ``open_run`` are loaded on first use, so that the pure parts load without ray, torch or optuna.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.api import launch, open_run

__all__ = ["launch", "open_run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from search import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
