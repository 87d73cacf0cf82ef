"""Problems of a space file, each with its location, key path, value and the rule it breaks."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from trainable.errors import UserError

Path = tuple[str | int, ...]
MISSING: Any = object()
WIDTH = 60
PASSWORD = re.compile(r"(://[^:/@\s]*):[^@/\s]+@")  # in a URL


@dataclass(frozen=True)
class Problem:
    """``place`` is the file and line, or the override, that contains the value."""

    place: str
    path: str
    rule: str
    value: Any = MISSING
    line: float = 0  # infinite for an override, so that it is listed after those of the file

    @property
    def found(self) -> str:
        return "" if self.value is MISSING else shown(self.value)

    def __str__(self) -> str:
        key = f"{self.path} = {self.found}" if self.found else self.path
        return PASSWORD.sub(r"\1:***@", ": ".join(filter(None, [self.place, key, self.rule])))


class SpaceError(UserError):
    """A space has problems; the message lists all of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        lines = list(dict.fromkeys(map(str, self.problems)))
        return lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} problems", *lines])


class Forbidden(UserError):
    """The space's ``forbid`` excludes a proposed config."""


def without_passwords(value: Any) -> Any:
    """The value with the passwords of URLs hidden in every text of it."""
    if isinstance(value, dict):
        return {key: without_passwords(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_passwords(each) for each in value]
    return PASSWORD.sub(r"\1:***@", value) if isinstance(value, str) else value


def key_path(path: Sequence[str | int]) -> str:
    return ".".join(map(str, path))


def shown(value: Any) -> str:
    """A value in the syntax of a space file, truncated if it is long."""
    text = written(value)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def written(value: Any) -> str:
    """A value in the syntax of a space file."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(item)}" for key, item in value.items()) + "}"
    return repr(value)
