"""Read YAML text as plain values with the line of every key, safe against code execution and alias expansion.

Scalars follow YAML 1.2: ``1e-3`` is a number; ``no``, ``12:30`` and ``2026-01-01`` are text.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from spaces.yaml_file.problems import Path

LARGEST_TREE = 20_000
DEEPEST = 40
TOO_DEEP = f"is nested deeper than {DEEPEST} levels, or an alias contains itself"
LONGEST_NUMBER = 18  # digits; more would not fit into 64 bits
PREFIX = "tag:yaml.org,2002:"


class TreeError(Exception):
    """The text is not a tree of plain values; line and column count from 1."""

    def __init__(self, rule: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(rule)
        self.rule, self.line, self.column = rule, line, column


@dataclass
class Tree:
    """Plain values, the line of every key path, and duplicate keys as (path, line, first line)."""

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    duplicates: list[tuple[Path, int, int]] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own shape)
    depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """Limit the depth here, because composing is recursive; ``_Builder`` reports lesser depths with their line."""
        if self.depth > 2 * DEEPEST:
            raise TreeError(TOO_DEEP)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_NUMBER = list("-+.0123456789")
_SCALARS: dict[str, tuple[str, list[str], Callable[[str], Any]]] = {  # kind: pattern, first characters, parser
    "null": ("~|null|Null|NULL|", ["~", "n", "N", ""], lambda text: None),
    "bool": ("true|True|TRUE|false|False|FALSE", list("tTfF"), lambda text: text.lower() == "true"),
    "int": ("[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _NUMBER, lambda text: int(text, 0 if text[1:2] in "ox" else 10)),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        _NUMBER,
        lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
    ),
    "merge": ("<<", ["<"], str),
}
for _kind, (_pattern, _first, _) in _SCALARS.items():
    _Loader.add_implicit_resolver(PREFIX + _kind, re.compile(rf"(?:{_pattern})\Z"), _first)


def read_tree(text: str) -> Tree:
    """Read the document in this text; ``value`` is None if there is none."""
    tree = Tree()
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is not None:
            tree.lines[()] = node.start_mark.line + 1
            tree.value = _Builder(tree).build(node, ())
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        position = before.count("\n") + 1, error.position - before.rfind("\n")
        raise TreeError("not YAML: a control character", *position) from None
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error) from None
    except RecursionError:
        raise TreeError(TOO_DEEP) from None
    except (ValueError, OverflowError):  # from the scanner, for an escape such as \U that is not a character
        raise TreeError("not YAML: an escape that is not a character") from None
    return tree


def _syntax_error(error: yaml.MarkedYAMLError) -> TreeError:
    context, problem = error.context or "", error.problem or "cannot be read"
    if "'\\t'" in problem:
        rule = "tabs cannot be used for indentation, use spaces"
    elif "single document" in context:
        rule = "a space file must be one YAML document, and another one starts here"
    else:
        rule = "not YAML: " + ", ".join(filter(None, [context, problem]))
    mark = error.problem_mark or error.context_mark
    return TreeError(rule, *((mark.line + 1, mark.column + 1) if mark else ()))


class _Builder:
    """Turns nodes into values, and counts them because nested aliases can expand without bound."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.count = 0

    def build(self, node: Node, path: Path) -> Any:
        self.count += 1
        if self.count > LARGEST_TREE:
            raise _at(node, f"has more than {LARGEST_TREE:,} values once its aliases are expanded")
        if len(path) > DEEPEST:
            raise _at(node, TOO_DEEP)
        if isinstance(node, MappingNode) and node.tag == f"{PREFIX}map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == f"{PREFIX}seq":
            return [self._entry(item, item, (*path, index)) for index, item in enumerate(node.value)]
        return _scalar(node)

    def _entry(self, key: Node, node: Node, path: Path) -> Any:
        self.tree.lines[path] = key.start_mark.line + 1
        return self.build(node, path)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        value: dict[str, Any] = {}
        first: dict[str, int] = {}
        # Earlier merges override later ones, and keys of the mapping itself override all merges.
        for key, item in reversed(node.value):
            if key.tag == f"{PREFIX}merge":
                for other in reversed(_mappings(item)):
                    value.update(self.build(other, path))
        for key, item in node.value:
            name = _key(key)
            line = key.start_mark.line + 1
            if name in first:
                self.tree.duplicates.append(((*path, name), line, first[name]))
                continue
            first[name] = line
            if key.tag != f"{PREFIX}merge":
                value[name] = self._entry(key, item, (*path, name))
        return value


def _mappings(node: Node) -> list[MappingNode]:
    parts = node.value if isinstance(node, SequenceNode) else [node]
    for part in parts:
        if not isinstance(part, MappingNode):
            raise _at(part, "<< needs a mapping or a list of mappings")
    return list(parts)


def _key(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        raise _at(node, "a key must be a name")
    return _printable(node)


def _printable(node: ScalarNode) -> str:
    """Text without line breaks and control characters, so that it is safe in a terminal, a log or a path."""
    text = str(node.value)
    if not text.isprintable():
        raise _at(node, "contains a line break or another unprintable character")
    return text


def _scalar(node: Node) -> Any:
    """The value of a scalar of a plain type, with or without an explicit tag (``!!str 5``)."""
    kind = node.tag.removeprefix(PREFIX)
    if not isinstance(node, ScalarNode) or kind not in ("str", *_SCALARS):
        tag = node.tag.replace(PREFIX, "!!")
        raise _at(node, f"{tag} is not allowed: a space file contains only plain values, lists and mappings")
    if kind in ("str", "merge"):
        return _printable(node)
    pattern, _, read = _SCALARS[kind]
    if not re.fullmatch(pattern, node.value):
        raise _at(node, f"{node.value!r} is not a valid !!{kind}")
    if kind == "int" and len(node.value) > LONGEST_NUMBER:
        raise _at(node, f"a whole number of {len(node.value)} digits is too large")
    return read(node.value)


def _at(node: Node, rule: str) -> TreeError:
    return TreeError(rule, node.start_mark.line + 1, node.start_mark.column + 1)
