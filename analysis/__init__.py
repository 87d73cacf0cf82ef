"""The analysis: what a run found, how sure it is of it, and what can be made of it.

``select`` and ``load_ensemble`` are loaded on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.answer.selection import select
    from analysis.ensembles.ensemble import load_ensemble

__all__ = ["load_ensemble", "select"]


def __getattr__(name: str) -> Any:
    if name == "select":
        from analysis.answer.selection import select

        return select
    if name == "load_ensemble":
        from analysis.ensembles.ensemble import load_ensemble

        return load_ensemble
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
