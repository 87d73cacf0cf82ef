"""Folds: made once per data set and seed, stratified by the shares of classes, never splitting a group."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainable.data.groups import GROUPS, read_groups, read_volumes
from trainable.errors import UserError
from trainable.printing import plural
from trainable.storage.atomic_files import write_json

if TYPE_CHECKING:
    from trainable.data.dataset import Split
    from trainable.data.labelled import Labelled

VERSION = 1


@dataclass(frozen=True)
class Folds:
    """The fold in which each image is held out; ``data_hash`` identifies the data.

    ``groups`` has the group of each image that folds keep together with others; earlier versions did not record it.
    """

    count: int
    seed: int
    data_hash: str
    assignment: Mapping[str, int]
    groups: Mapping[str, str] = field(default_factory=dict)

    def held_out(self, fold: int) -> list[str]:
        return sorted(stem for stem, k in self.assignment.items() if k == self._check(fold))

    def training(self, fold: int) -> list[str]:
        return sorted(stem for stem, k in self.assignment.items() if k != self._check(fold))

    @property
    def hash(self) -> str:
        text = json.dumps([self.data_hash, sorted(self.assignment.items())], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def _check(self, fold: int) -> int:
        if not 0 <= fold < self.count:
            raise UserError(f"fold {fold}: there are {self.count} folds, 0 to {self.count - 1}")
        return fold


def folds_of(data: Labelled, count: int, seed: int) -> Folds:
    """The folds of a split; images of one group, or else of one volume, stay together."""
    path = data.split.root / GROUPS
    groups = read_groups(path, data.stems) if path.exists() else data.volumes
    _check_volumes(data, groups or {})
    if data.task.binary:
        return make_folds(data.foreground_shares, count, seed, data.hash, groups)
    return make_class_folds(data.class_shares, count, seed, data.hash, groups or {})


def check_folds(split: Split, count: int) -> None:
    """Raise an error if there are fewer images or groups than folds, which is known before anything is decoded."""
    _check_count(split.images, count)
    path = split.root / GROUPS
    if path.exists():
        _members(split.stems, read_groups(path, split.stems), count)
    elif split.volumes_file is not None:
        places = read_volumes(split.volumes_file, split.stems)
        _members(split.stems, {stem: place.volume for stem, place in places.items()}, count)


def _check_volumes(data: Labelled, groups: Mapping[str, str]) -> None:
    """A volume whose slices were in several folds could not be scored."""
    seen: dict[str, str] = {}
    for stem, volume in (data.volumes or {}).items():
        group = groups.get(stem, stem)
        if seen.setdefault(volume, group) != group:
            raise UserError(
                f"{data.split.root / GROUPS}: volume {volume!r} is in the groups {seen[volume]!r} and {group!r}; "
                "all slices of a volume must be in one group"
            )


def make_folds(
    shares: Mapping[str, float], count: int, seed: int, data_hash: str, groups: Mapping[str, str] | None = None
) -> Folds:
    """Distribute the images so that each quantile bin of the foreground share is spread over all folds."""
    _check_count(shares, count)
    rng = np.random.default_rng((seed, count))
    assignment = _deal(shares, count, rng) if groups is None else _deal_groups(shares, groups, count, rng)
    return Folds(count, seed, data_hash, assignment, groups or {})


def make_class_folds(
    shares: Mapping[str, Sequence[float]], count: int, seed: int, data_hash: str, groups: Mapping[str, str]
) -> Folds:
    """Distribute groups of images so that the folds have equal shares of every class and equally many images.

    ``shares`` are those of the classes but the first. The largest groups come first. Each goes to the fold in which it
    leaves the folds most equal, rare classes counting as much as frequent ones, among folds that are not too large.
    """
    _check_count(shares, count)
    members = _members(shares, groups, count)
    rng = np.random.default_rng((seed, count))
    amounts = {name: np.sum([(1.0, *shares[stem]) for stem in stems], axis=0) for name, stems in members.items()}
    total = np.maximum(np.sum(list(amounts.values()), axis=0), 1e-12)
    shuffled = [list(members)[k] for k in rng.permutation(len(members))]
    names = sorted(shuffled, key=lambda name: (-amounts[name][0], -(amounts[name] / total)[1:].sum()))
    limit = -(-len(shares) // count) + (int(amounts[names[0]][0]) - 1) // 2
    filled = np.zeros((count, len(total)))
    assignment: dict[str, int] = {}
    for name in names:
        after = filled + amounts[name]
        # The sum of squares over all folds grows least where a fold has least of what the group has.
        growth = ((after / total) ** 2 - (filled / total) ** 2).sum(axis=1)
        full = after[:, 0] > max(limit, after[:, 0].min())
        fold = int(np.argmin(np.where(full, np.inf, growth)))
        filled[fold] = after[fold]
        assignment.update(dict.fromkeys(members[name], fold))
    return Folds(count, seed, data_hash, assignment, groups)


def _check_count(shares: Mapping[str, object], count: int) -> None:
    if count < 2:
        raise UserError(f"folds = {count}: at least 2 are needed")
    if len(shares) < count:
        raise UserError(
            f"folds = {count}: the data set has only {len(shares)} labelled images, fewer than one per fold"
        )


def _deal(shares: Mapping[str, float], count: int, rng: np.random.Generator) -> dict[str, int]:
    """Sort by foreground share; each run of ``count`` images gives one to each fold."""
    ordered = sorted(shares, key=lambda stem: (shares[stem], stem))
    assignment: dict[str, int] = {}
    for start in range(0, len(ordered), count):
        for stem, fold in zip(ordered[start : start + count], rng.permutation(count).tolist(), strict=False):
            assignment[stem] = fold
    return assignment


def _deal_groups(
    shares: Mapping[str, float], groups: Mapping[str, str], count: int, rng: np.random.Generator
) -> dict[str, int]:
    """Large groups first, each to the fold with the fewest images in the group's bins of foreground share."""
    members = _members(shares, groups, count)
    ordered = sorted(shares, key=lambda stem: (shares[stem], stem))
    bins = max(1, min(5, len(shares) // count))
    bin_of = {stem: position * bins // len(ordered) for position, stem in enumerate(ordered)}
    filled = np.zeros((count, bins))
    assignment: dict[str, int] = {}
    order = rng.permutation(len(members))
    names = sorted((list(members)[k] for k in order), key=lambda name: -len(members[name]))
    for name in names:
        added = np.bincount([bin_of[stem] for stem in members[name]], minlength=bins)
        after = filled + added
        # Size weighs more than stratification, but a much better mixture can outweigh an image.
        badness = len(shares) * after.sum(axis=1) + (after**2).sum(axis=1)
        fold = int(np.argmin(badness))
        filled[fold] = after[fold]
        assignment.update(dict.fromkeys(members[name], fold))
    return assignment


def _members(stems: Iterable[str], groups: Mapping[str, str], count: int) -> dict[str, list[str]]:
    """The images of each group, and each other image alone."""
    members: dict[str, list[str]] = defaultdict(list)
    for stem in sorted(stems):
        members[f"group {groups[stem]}" if stem in groups else f"image {stem}"].append(stem)
    if len(members) < count:
        raise UserError(f"folds = {count}: the images form only {plural(len(members), 'group')}, which are never split")
    return members


def save_folds(folds: Folds, path: Path) -> None:
    document = {
        "version": VERSION,
        "folds": folds.count,
        "seed": folds.seed,
        "data_hash": folds.data_hash,
        "assignment": dict(sorted(folds.assignment.items())),
    }
    write_json(path, document | ({"groups": dict(sorted(folds.groups.items()))} if folds.groups else {}))


def load_folds(path: Path, data_hash: str | None = None) -> Folds:
    """Read folds.json; folds of other data than ``data_hash`` are refused."""
    try:
        value: Any = json.loads(path.read_text())
        if value["version"] != VERSION:
            raise UserError(f"{path}: has version {value['version']}, this program reads version {VERSION}")
        assignment = {str(stem): int(fold) for stem, fold in value["assignment"].items()}
        groups = {str(stem): str(group) for stem, group in value.get("groups", {}).items()}
        folds = Folds(int(value["folds"]), int(value["seed"]), str(value["data_hash"]), assignment, groups)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: is not a folds file ({type(error).__name__}: {error})") from None
    if set(folds.assignment.values()) != set(range(folds.count)):
        raise UserError(f"{path}: must contain an image in every fold from 0 to {folds.count - 1}")
    if data_hash is not None and folds.data_hash != data_hash:
        raise UserError(f"{path}: was made for other data ({folds.data_hash[:12]}, these are {data_hash[:12]})")
    return folds
