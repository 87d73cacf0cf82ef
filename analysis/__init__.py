"""The analysis: what a run found, how sure it is of it, and what can be made of it.

The names below are loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.answer.selection import select
    from analysis.ensembles.assemble import build_ensemble
    from analysis.ensembles.ensemble import load_ensemble

__all__ = ["build_ensemble", "load_ensemble", "select"]
SOURCES = {"build_ensemble": "ensembles.assemble", "load_ensemble": "ensembles.ensemble", "select": "answer.selection"}


def __getattr__(name: str) -> Any:
    if name in SOURCES:
        return getattr(import_module(f"{__name__}.{SOURCES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
