"""Images that belong together: ``groups.csv``, which folds never split, and ``volumes.csv``, whose slices are scored
as one.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from trainable.errors import UserError, did_you_mean

GROUPS = "groups.csv"
LISTED = 20  # mistakes per file in one error
WHOLE_NUMBER = re.compile(r"-?\d+")


class Slice(NamedTuple):
    """The place of an image in a volume."""

    volume: str
    number: int


def read_groups(path: Path, stems: Sequence[str]) -> dict[str, str]:
    """The group of each image in a groups.csv (columns stem, group); images that are not listed form no group."""
    groups: dict[str, str] = {}
    problems: list[str] = []
    for line, stem, (group,) in _rows(path, ("group",), stems, problems):
        if groups.setdefault(stem, group) != group:
            problems.append(f"line {line}: {stem!r} is in two groups, {groups[stem]!r} and {group!r}")
    _raise(path, problems)
    return groups


def read_volumes(path: Path, stems: Sequence[str]) -> dict[str, Slice]:
    """The volume and slice of each image in a volumes.csv (columns stem, volume, slice)."""
    volumes: dict[str, Slice] = {}
    seen: dict[Slice, str] = {}
    problems: list[str] = []
    for line, stem, (volume, number) in _rows(path, ("volume", "slice"), stems, problems):
        if not WHOLE_NUMBER.fullmatch(number):
            problems.append(f"line {line}: slice {number!r} of {stem!r} is not a whole number")
            continue
        place = Slice(volume, int(number))
        if stem in volumes:
            problems.append(f"line {line}: {stem!r} is listed twice")
        elif place in seen:
            problems.append(f"line {line}: {stem!r} and {seen[place]!r} are both slice {place.number} of {volume!r}")
        else:
            volumes[stem] = place
            seen[place] = stem
    _raise(path, problems)
    return volumes


def _rows(
    path: Path, columns: tuple[str, ...], stems: Sequence[str], problems: list[str]
) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """The rows whose values are all given and whose stem has an image, each with its line; notes the other ones."""
    wanted = ("stem", *columns)
    known = set(stems)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns_found = reader.fieldnames or ["none"]
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if not set(wanted) <= set(columns_found):
        needed = f"{', '.join(wanted[:-1])} and {wanted[-1]}"
        raise UserError(f"{path}: needs the columns {needed}, has {', '.join(columns_found)}")
    for line, row in rows:
        values = [row[name] for name in wanted]
        if not all(values):
            allof = "both" if len(wanted) == 2 else "all"
            problems.append(f"line {line}: {', '.join(wanted[:-1])} and {wanted[-1]} must {allof} be given")
        elif values[0] not in known:
            hint = did_you_mean(values[0], stems)
            problems.append(f"line {line}: no image has the stem {values[0]!r}.{hint}")
        else:
            yield line, values[0], tuple(values[1:])


def _raise(path: Path, problems: list[str]) -> None:
    if problems:
        shown = [f"{path}, {problem}" for problem in problems[:LISTED]]
        more = [f"{path}: and {len(problems) - LISTED} more mistakes"] if len(problems) > LISTED else []
        raise UserError("\n".join([*shown, *more]))
