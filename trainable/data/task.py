"""What a data set asks for: its classes, pixels that count for nothing, and slices that form volumes.

``dataset.yaml`` beside the splits declares it. Without that file there are two classes and no volumes.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainable.errors import UserError, did_you_mean

FILE, VOLUMES = "dataset.yaml", "volumes.csv"
FEWEST, MOST = 2, 15  # a class takes a nibble of a packed label, and 15 marks ignored pixels
IGNORE_LABEL = 255
NAME = re.compile(r"\w[\w-]*")
COLUMNS = ("config", "dice", "folds", "mean", "pixels", "slices", "truth")  # of tables with a column per class


@dataclass(frozen=True)
class Task:
    """``ignore``: 255 in a mask marks pixels that count for nothing. ``declared``: there is a ``dataset.yaml``."""

    classes: tuple[str, ...] = ("background", "foreground")
    volumes: str = VOLUMES
    ignore: bool = False
    declared: bool = False

    @property
    def foreground(self) -> tuple[str, ...]:
        return self.classes[1:]

    @property
    def binary(self) -> bool:
        return len(self.classes) == FEWEST


TWO_CLASSES = Task()


def read_task(folder: Path) -> Task:
    """The task that a data set declares; all mistakes of the file are listed in one error."""
    path = folder / FILE
    if not path.exists():
        if (other := path.with_suffix(".yml")).exists():
            raise UserError(f"{path}: is missing, but there is {other.name}; rename it")
        return TWO_CLASSES
    try:
        root: Any = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line}: is not valid YAML ({error.problem})") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: is not valid YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}: must be a mapping such as classes: [background, ring, core]")
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key, node in root.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in values:
            problems.append(f"line {line}: {name} is given twice")
        elif name not in READERS:
            hint = did_you_mean(name, READERS) or f" Known: {', '.join(READERS)}."
            problems.append(f"line {line}: unknown key {name!r}.{hint}")
        else:
            found = READERS[name](node)
            values[name] = found if not isinstance(found, list) else None
            problems += found if isinstance(found, list) else []
    if "classes" not in values:
        problems.append(f"classes is missing: {FEWEST} to {MOST} names, of which the first is the background")
    if problems:
        raise UserError("\n".join(f"{path}, {problem}" for problem in problems))
    return Task(values["classes"], values.get("volumes", VOLUMES), "ignore_label" in values, declared=True)


def class_problems(names: Sequence[str]) -> Iterator[tuple[int | None, str]]:
    """What is wrong with a list of classes: the index of the name, or None if it is their number, and the problem."""
    if not FEWEST <= len(names) <= MOST:
        listed = "is empty" if not names else f"has {len(names)} {'name' if len(names) == 1 else 'names'}"
        yield None, f"classes {listed}; {FEWEST} to {MOST} are allowed, the background included"
    for number, name in enumerate(names):
        if not NAME.fullmatch(name):
            yield number, f"class {name!r}: use letters, digits, _ and - only, since metrics are named after it"
        elif re.match("volume(_|$)", name):
            yield number, f"class {name!r}: dice_volume names a metric; use another name"
        elif name in COLUMNS:
            yield number, f"class {name!r}: names a column of tables; use another name"
        elif name in names[:number]:
            yield number, f"class {name!r} is listed twice"


def check_classes(names: Sequence[str]) -> tuple[str, ...]:
    """The classes that a command line gives, if they are allowed."""
    if problems := [problem for _, problem in class_problems(names)]:
        raise UserError("--classes: " + "; ".join(problems))
    return tuple(names)


def _classes(node: Any) -> tuple[str, ...] | list[str]:
    if not isinstance(node, yaml.SequenceNode) or not all(isinstance(each, yaml.ScalarNode) for each in node.value):
        return [f"line {node.start_mark.line + 1}: classes must be a list of names, as in [background, ring, core]"]
    names = [each.value for each in node.value]
    places = [each.start_mark.line + 1 for each in node.value]
    problems = [
        f"line {node.start_mark.line + 1 if number is None else places[number]}: {problem}"
        for number, problem in class_problems(names)
    ]
    return problems or tuple(names)


def _volumes(node: Any) -> str | list[str]:
    if isinstance(node, yaml.ScalarNode) and node.value and Path(node.value).name == node.value:
        return str(node.value)
    return [f"line {node.start_mark.line + 1}: volumes must be the name of a file in each split, such as {VOLUMES}"]


def _ignore_label(node: Any) -> int | list[str]:
    if isinstance(node, yaml.ScalarNode) and node.value == str(IGNORE_LABEL):
        return IGNORE_LABEL
    return [f"line {node.start_mark.line + 1}: ignore_label must be {IGNORE_LABEL}, the value of pixels without truth"]


READERS: dict[str, Callable[[Any], Any]] = {"classes": _classes, "volumes": _volumes, "ignore_label": _ignore_label}
