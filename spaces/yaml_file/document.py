"""A space file as it was written and overridden: its tree, where every key comes from, and what is wrong with it."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spaces.yaml_file.problems import MISSING, Path, Problem, SpaceError, key_path
from spaces.yaml_file.yaml_tree import TreeError, read_tree
from trainable.errors import UserError

OPTION = "--set"
LARGEST = 64 * 1024  # bytes; reading must end in time, whatever file was named
NAMED = ("sampler", "scheduler")  # sections that may be a bare name


@dataclass
class Document:
    """The tree of a space; ``refuse`` collects what is wrong with it, so that all of it can be told at once."""

    name: str
    tree: dict[str, Any]
    lines: Mapping[Path, int] = field(default_factory=dict)
    overridden: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, path: Sequence[str | int], rule: str) -> None:
        """Note that the value at this path breaks a rule; a path that is not there is told without a value."""
        value = self.find(path)
        ancestors = [tuple(path[:length]) for length in range(len(path), -1, -1)]
        override = next((self.overridden[known] for known in ancestors if known in self.overridden), None)
        line = next((self.lines[known] for known in ancestors if known in self.lines), 1)
        place = override or f"{self.name}:{line}"
        self.problems.append(Problem(place, key_path(path), rule, value, math.inf if override else line))

    def find(self, path: Sequence[str | int]) -> Any:
        value: Any = self.tree
        for step in path:
            if not _has(value, step):
                return MISSING
            value = value[step]
        return value

    def override(self, assignment: str) -> None:
        """Apply one ``key.path=value``; a scalar on its way becomes a mapping."""
        key, equals, text = assignment.partition("=")
        steps = [step.strip() for step in key.split(".")]
        if not equals or not all(steps):
            raise UserError(f"{OPTION} {assignment!r}: write key.path=value, as in {OPTION} scheduler.keep=0.5")
        place = f"{OPTION} {assignment}"
        try:
            value = read_tree(text).value
        except TreeError as error:
            self.problems.append(Problem(place, key_path(steps), error.rule, text, math.inf))
            return
        path = self._set(steps, value)
        if path is None:
            self.problems.append(Problem(place, key_path(steps), "a list has no such entry", line=math.inf))
            return
        self.overridden = {known: text for known, text in self.overridden.items() if known[: len(path)] != path}
        self.overridden[path] = place

    def _set(self, steps: Sequence[str], value: Any) -> Path | None:
        """Put a value at its place; returns from where on all is the override's, if there is a place."""
        parent: Any = self.tree
        path: Path = ()
        new: Path = ()
        for step in steps:
            place = int(step) if isinstance(parent, list) and step.isdecimal() and step.isascii() else step
            if isinstance(parent, list) and not _has(parent, place):
                return None
            path = (*path, place)
            child = parent[place] if _has(parent, place) else None
            if len(path) == len(steps):
                parent[place] = value
            elif not isinstance(child, dict | list):
                bare = len(path) == 1 and step in NAMED and child is not None
                parent[place] = {"name": child} if bare else {}
                new = new if new or bare else path
            parent = parent[place]
        return new or path

    def end(self) -> None:
        """Raise if anything is wrong, in the order of the file."""
        if self.problems:
            raise SpaceError(sorted(self.problems, key=lambda problem: problem.line))


def open_document(path: pathlib.Path, overrides: Sequence[str] = ()) -> Document:
    """Read a space file and apply overrides; text that is no tree at all is an error at once."""
    document = read_document(_read_text(path), str(path))
    for assignment in overrides:
        document.override(assignment)
    return document


def read_document(text: str, name: str) -> Document:
    try:
        tree = read_tree(text)
    except TreeError as error:
        place = name if error.line is None else f"{name}:{error.line}:{error.column}"
        raise SpaceError([Problem(place, "", error.rule)]) from None
    if tree.value is None:
        raise SpaceError([Problem(name, "", "is empty; a space has at least a name, data and parameters")])
    if not isinstance(tree.value, dict):
        kind = "a list" if isinstance(tree.value, list) else "a single value"
        raise SpaceError([Problem(f"{name}:{tree.lines[()]}", "", f"must hold keys, as in name: mine, not {kind}")])
    document = Document(name, tree.value, tree.lines)
    for path, line, first in tree.twice:
        document.problems.append(
            Problem(f"{name}:{line}", key_path(path), f"is written twice, first on line {first}", line=line)
        )
    return document


def _read_text(path: pathlib.Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UserError(f"{path}: is larger than {LARGEST // 1024} KiB, which no space is")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: is not UTF-8 text (byte {error.object[error.start]:#04x})") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def _has(value: Any, step: str | int) -> bool:
    if isinstance(value, dict):
        return step in value
    return isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value)
