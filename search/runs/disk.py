"""The disk space that a run takes: checkpoints while it runs, and the weights that stay. Everything else is small."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from spaces.schema.schedulers import Grid, Halving
from spaces.space import Point, Space
from trainable.errors import UserError
from trainable.preflight.network_check import weight_bytes

PAUSED = 5  # copies of the weights at most: the network, its average, two moments of the optimizer, the best so far
WRITING = 3  # checkpoints of a fold that is training: the newest, the previous one, the one that is being written


@dataclass(frozen=True)
class Disk:
    """Bytes: ``most`` at any time, ``config`` of the fold models of the largest config."""

    most: int
    config: int


def estimate_disk(space: Space, points: Sequence[Point], configs: int | None, trials: float, slots: int) -> Disk | None:
    """The space for ``trials`` fold trials of configs like these; None if they leave no weights.

    A fold that is done has its weights once. A config that a rung paused has a checkpoint to resume from, and at most
    all configs are paused at once; an open-ended space has no number of ``configs``.
    """
    if space.settings.trainable != "fold":
        return None
    found = weight_bytes([point.config for point in points])
    mean, largest = fmean(found.values()), max(found.values())
    never_paused = isinstance(space.settings.scheduler, Grid | Halving)
    paused = 0.0 if never_paused else trials if configs is None else min(configs, trials)
    most = mean * (trials - paused + PAUSED * paused) + slots * PAUSED * WRITING * largest
    return Disk(round(most), largest * space.settings.folds)


def describe_disk(disk: Disk, space: Space) -> str:
    stay = {
        "all": "all of it stays",
        "race": "of which every config with all folds keeps",
        "winners": "of which the winner and each config that cannot be distinguished from it keep",
    }[space.settings.keep]
    rest = "" if space.settings.keep == "all" else f" {size(disk.config)}"
    return f"at most {size(disk.most)} while it runs, {stay}{rest} (keep: {space.settings.keep})"


def check_room(run: Path, document: Mapping[str, Any]) -> None:
    """Raise an error if the disk has no room for what a plan says, beyond what the run has already."""
    most = (document.get("disk") or {}).get("most")
    existing = next(path for path in (run, *run.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if most is None or free >= most:
        return
    there = sum(path.stat().st_size for path in run.glob("configs/*/fold_*/*") if path.is_file())
    if free + there < most:
        raise UserError(
            f"{run}: the run may need {size(most - there)} more disk space and {size(free)} are free: free some space,"
            " choose a folder on another disk with --runs, or search fewer configs"
        )


def size(count: float) -> str:
    """Three significant digits in a readable unit."""
    value, unit = count, "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:.3g} {unit}"
