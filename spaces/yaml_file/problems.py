"""What is wrong with a space file: every problem with its place, its key path, the value found and the rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from trainable.errors import UserError

Path = tuple[str | int, ...]
MISSING: Any = object()
WIDTH = 60
PASSWORD = re.compile(r"(://[^:/@\s]*):[^@/\s]+@")  # in the address of a server


@dataclass(frozen=True)
class Problem:
    """``place`` is the file and line, or the override, in which the value stands."""

    place: str
    path: str
    rule: str
    value: Any = MISSING
    line: float = 0  # infinite for an override, which is told after the file

    @property
    def found(self) -> str:
        return "" if self.value is MISSING else shown(self.value)

    def __str__(self) -> str:
        key = f"{self.path} = {self.found}" if self.found else self.path
        return PASSWORD.sub(r"\1:***@", ": ".join(filter(None, [self.place, key, self.rule])))


class SpaceError(UserError):
    """A space that cannot be used, with all of its problems."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        lines = list(dict.fromkeys(map(str, self.problems)))
        return lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} problems", *lines])


class Forbidden(UserError):
    """A proposal that the space's ``forbid`` excludes."""


def key_path(path: Sequence[str | int]) -> str:
    return ".".join(map(str, path))


def shown(value: Any) -> str:
    """A value as a space file would write it, cut where it is long."""
    text = written(value)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def written(value: Any) -> str:
    """A value as a space file would write it, all of it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(item)}" for key, item in value.items()) + "}"
    return repr(value)
