"""Volumes that are incomplete, or whose slices do not fit together."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from trainable.checks.diagnosis import Problem, Size, by
from trainable.data.groups import Slice
from trainable.printing import plural

LISTED = 5


def volume_problems(path: Path, slices: Mapping[str, Slice], sizes: Mapping[str, Size]) -> Iterator[Problem]:
    """``path`` is the file that lists the slices, ``sizes`` are those of the images that can be read."""
    numbers: dict[str, list[int]] = defaultdict(list)
    shapes: dict[str, Counter[Size]] = defaultdict(Counter)
    for stem, place in slices.items():
        numbers[place.volume].append(place.number)
        if stem in sizes:
            shapes[place.volume][sizes[stem]] += 1
    for volume, present in numbers.items():
        if gaps := list(_gaps(sorted(present))):
            what = "slice" if len(gaps) == 1 and gaps[0].isdecimal() else "slices"
            text = f"leaves volume {volume!r} without {what} {_listed(gaps)}: is an image missing?"
            yield Problem(path, "missing slices", text)
    for volume, counted in shapes.items():
        if len(counted) > 1:
            parts = _listed([f"{count} of {by(size)}" for size, count in counted.most_common()])
            text = f"gives volume {volume!r} slices of {plural(len(counted), 'size')}: {parts}"
            yield Problem(path, "mixed sizes", text)


def _gaps(numbers: Sequence[int]) -> Iterator[str]:
    """The numbers between those of a sorted sequence: "4", or "4 to 6"."""
    for before, after in pairwise(numbers):
        if after - before == 2:
            yield str(before + 1)
        elif after - before > 2:
            yield f"{before + 1} to {after - 1}"


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts[:LISTED]) + (", ..." if len(parts) > LISTED else "")
