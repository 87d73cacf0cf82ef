"""Errors that a user can fix, reported in one line: what was found, where, and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Wrong use or a wrong file; commands print its message without a traceback and exit with 2."""


class StorageFull(UserError):
    """The storage cannot be written to, so a retry there would fail as well."""


class CacheFailed(StorageFull):
    """The cache of this node cannot be written to; other nodes have their own."""


class WrongMachine(Exception):
    """This node cannot run the job; nothing was trained, and another node may take it."""

    def __init__(self, message: str, node: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.node = node

    def __reduce__(self) -> tuple[type[WrongMachine], tuple[str, str | None]]:
        return (WrongMachine, (self.message, self.node))


class FoldFailed(Exception):
    """A fold that cannot be trained further; ``reason`` is machine-readable, the message is for people."""

    def __init__(self, reason: str, message: str, step: int) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.step = step

    def __reduce__(self) -> tuple[type[FoldFailed], tuple[str, str, int]]:
        return (FoldFailed, (self.reason, self.message, self.step))


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def did_you_mean(word: str, known: Iterable[str], limit: int = 3) -> str:
    """ " Did you mean ...?" with the closest known words; empty if none is close."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word.lower(), names, n=limit, cutoff=0.6)
    near = near or [name for name in names if len(word) > 2 and word.lower() in name.lower()][:limit]
    return f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
