"""Errors that are the user's to mend, told in one line: what was found, where, and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Wrong use or a wrong file; command lines print its message without a traceback and exit with 2."""


class StorageFull(UserError):
    """A place that cannot be written to: nothing is wrong with what was asked, and everything would end like this."""


class WrongMachine(Exception):
    """A job that should not have come to this node: nothing of it was trained, and another one may take it."""

    def __init__(self, message: str, node: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.node = node

    def __reduce__(self) -> tuple[type[WrongMachine], tuple[str, str | None]]:
        return (WrongMachine, (self.message, self.node))


class FoldFailed(Exception):
    """A fold that cannot go on for a reason of its own; ``reason`` is for machines, the message for people."""

    def __init__(self, reason: str, message: str, step: int) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.step = step

    def __reduce__(self) -> tuple[type[FoldFailed], tuple[str, str, int]]:
        return (FoldFailed, (self.reason, self.message, self.step))


def did_you_mean(word: str, known: Iterable[str], limit: int = 3) -> str:
    """A question that names the nearest known words, or nothing where none is near."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word.lower(), names, n=limit, cutoff=0.6)
    near = near or [name for name in names if len(word) > 2 and word.lower() in name.lower()][:limit]
    return f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
