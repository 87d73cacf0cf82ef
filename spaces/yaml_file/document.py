"""A space file with its overrides: its tree, the source of every key, and its problems."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spaces.yaml_file.problems import MISSING, Path, Problem, SpaceError, key_path
from spaces.yaml_file.yaml_tree import TreeError, read_tree
from trainable.errors import UserError

OPTION = "--set"
LARGEST = 64 * 1024  # bytes; a limit, because the path may name any file
SHORTHAND_SECTIONS = ("sampler", "scheduler", "metric")  # sections that may be just a name


@dataclass
class Document:
    """The tree of a space; ``add_problem`` collects problems so that all are reported at once."""

    name: str
    tree: dict[str, Any]
    lines: Mapping[Path, int] = field(default_factory=dict)
    overridden: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add_problem(self, path: Sequence[str | int], rule: str) -> None:
        """Record that the value at this path breaks a rule; a missing path is reported without a value."""
        value = self.find(path)
        ancestors = [tuple(path[:length]) for length in range(len(path), -1, -1)]
        override = next((self.overridden[each] for each in ancestors if each in self.overridden), None)
        line = next((self.lines[each] for each in ancestors if each in self.lines), 1)
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
        """Apply one ``key.path=value``; a scalar along the path becomes a mapping."""
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
            self.problems.append(Problem(place, key_path(steps), "the list has no such entry", line=math.inf))
            return
        self.overridden = {other: text for other, text in self.overridden.items() if other[: len(path)] != path}
        self.overridden[path] = place

    def _set(self, steps: Sequence[str], value: Any) -> Path | None:
        """Set the value at a path; returns the outermost path that was set, or None if a list has no such index."""
        parent: Any = self.tree
        path: Path = ()
        new: Path = ()
        for step in steps:
            key = int(step) if isinstance(parent, list) and step.isdecimal() and step.isascii() else step
            if isinstance(parent, list) and not _has(parent, key):
                return None
            path = (*path, key)
            child = parent[key] if _has(parent, key) else None
            if len(path) == len(steps):
                parent[key] = value
            elif not isinstance(child, dict | list):
                bare = len(path) == 1 and step in SHORTHAND_SECTIONS and child is not None
                parent[key] = {"name": child} if bare else {}
                new = new if new or bare else path
            parent = parent[key]
        return new or path

    def raise_problems(self) -> None:
        """Raise an error that lists all problems in the order of the file, if there are any."""
        if self.problems:
            raise SpaceError(sorted(self.problems, key=lambda problem: problem.line))


def open_document(path: pathlib.Path, overrides: Sequence[str] = ()) -> Document:
    """Read a space file and apply overrides; invalid YAML raises at once."""
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
        raise SpaceError([Problem(name, "", "is empty; a space needs at least a name, data and parameters")])
    if not isinstance(tree.value, dict):
        kind = "a list" if isinstance(tree.value, list) else "a single value"
        raise SpaceError(
            [Problem(f"{name}:{tree.lines[()]}", "", f"must be a mapping of keys, as in name: mine, not {kind}")]
        )
    document = Document(name, tree.value, tree.lines)
    for path, line, first in tree.duplicates:
        document.problems.append(
            Problem(f"{name}:{line}", key_path(path), f"is a duplicate key, first defined on line {first}", line=line)
        )
    return document


def _read_text(path: pathlib.Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UserError(f"{path}: is larger than {LARGEST // 1024} KiB, the limit for a space file")
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
