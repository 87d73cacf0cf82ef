"""Which images of a split belong together, and the mistakes of the files that say so."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainable.checks.diagnosis import Problem
from trainable.data.dataset import Split
from trainable.data.groups import GROUPS, Slice, read_groups, read_volumes
from trainable.errors import UserError
from trainable.printing import plural


@dataclass(frozen=True)
class Membership:
    """The groups, volumes and problems of a split; without a valid ``groups.csv``, volumes are the groups."""

    groups: Mapping[str, str] = field(default_factory=dict)
    slices: Mapping[str, Slice] = field(default_factory=dict)
    problems: Sequence[Problem] = ()


def membership(split: Split) -> Membership:
    path, volumes_path = split.root / GROUPS, split.volumes_file
    groups: dict[str, str] | None = None
    slices: dict[str, Slice] = {}
    problems: list[Problem] = []
    if path.exists():
        try:
            groups = read_groups(path, split.stems)
        except UserError as error:
            problems += mistakes(path, "groups", error)
        else:
            problems += _unlisted(split, groups, path, "ungrouped", "group")
    if volumes_path:
        try:
            slices = read_volumes(volumes_path, split.stems)
        except UserError as error:
            problems += mistakes(volumes_path, "volumes", error)
        else:
            problems += _unlisted(split, slices, volumes_path, "unlisted", "volume")
    if groups is not None:
        problems += _divided(path, groups, slices)
    else:
        groups = {stem: place.volume for stem, place in slices.items()}
    return Membership(groups, slices, problems)


def mistakes(path: Path, kind: str, error: UserError) -> list[Problem]:
    """The lines of an error about a file, each a problem of its own."""
    return [Problem(path, kind, line.removeprefix(str(path)).lstrip(":, ")) for line in str(error).splitlines()]


def first(stems: Sequence[str]) -> str:
    return ", ".join(stems[:3]) + (", ..." if len(stems) > 3 else "")


def _unlisted(split: Split, listed: Mapping[str, object], path: Path, kind: str, what: str) -> Iterator[Problem]:
    alone = [stem for stem in split.stems if stem not in listed]
    if alone:
        text = f"lists no {what} for {plural(len(alone), 'image')} ({first(alone)}); each forms its own {what}"
        yield Problem(path, kind, text)


def _divided(path: Path, groups: Mapping[str, str], slices: Mapping[str, Slice]) -> Iterator[Problem]:
    """Volumes that folds would tear apart, so that they could not be scored."""
    found: dict[str, dict[str | None, list[str]]] = defaultdict(lambda: defaultdict(list))
    for stem, place in slices.items():
        found[place.volume][groups.get(stem)].append(stem)
    rule = "all slices of a volume must be in one group"
    for volume, members in found.items():
        names = sorted(name for name in members if name is not None)
        alone = members.get(None, [])
        if len(names) > 1:
            listed = ", ".join(map(repr, names[:-1])) + f" and {names[-1]!r}"
            yield Problem(path, "groups", f"divides volume {volume!r} between the groups {listed}; {rule}")
        elif alone and (names or len(alone) > 1):
            yield Problem(path, "groups", f"lists no group for slices of volume {volume!r} ({first(alone)}); {rule}")
