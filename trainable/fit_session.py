"""What fitting a fold by hand is asked and how it is interrupted, whatever the kind of fold trial."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.data.task import Task
from trainable.exit_codes import INTERRUPTED
from trainable.objectives.metrics import OF_VOLUMES, main_metrics, metrics_of
from trainable.printing import Format, print_csv, print_json, print_table, say


@dataclass(frozen=True)
class Request:
    """The arguments of the command."""

    data: Path
    fold: int
    folds: int
    fold_seed: int
    out: Path | None
    assignments: tuple[str, ...]
    metric: str
    until: int | None
    device: str
    workers: int | None
    checkpoint_seconds: float
    probabilities: bool
    split: str
    validation: str | None
    cache: Path | None
    plugins: tuple[str, ...] = ()


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """The first Ctrl-C (or SIGTERM) stops after the current step; the second stops at once."""
    stops: list[int] = []

    def note(number: int, frame: Any) -> None:
        if stops:
            raise KeyboardInterrupt
        stops.append(number)
        # Written directly to stderr: the console may be in the middle of a line.
        os.write(sys.stderr.fileno(), b"\nstopping after this step; press again to stop at once\n")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stops
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def paused(interrupted: bool) -> int:
    """Say how to resume, and return the exit code."""
    say(f"{'Interrupted' if interrupted else 'Paused'}; nothing is lost. To resume:")
    say(f"  python -m trainable {shlex.join(_without_until(sys.argv[1:]))}")
    return INTERRUPTED if interrupted else 0


def print_scores(summary: Mapping[str, Any], output: Format, task: Task, volumes: bool, metric: str) -> None:
    """The content of a fold's scores.json."""
    if output is Format.json:
        print_json(summary)
        return
    found = [
        ({"weights": weights, "step": sizes["step"], "size": size}, sizes[size])
        for weights, sizes in summary.items()
        for size in ("original", "working", "validation")
        if size in sizes
    ]
    if output is Format.csv:
        metrics = metrics_of(task, volumes)
    else:  # a validation split need not be one of volumes
        metrics = main_metrics(task, all(OF_VOLUMES in scores for _, scores in found), metric)
    rows = [facts | {name: scores.get(name) for name in metrics} for facts, scores in found]
    if output is Format.csv:
        print_csv(rows)
    else:
        print_table(rows)


def _without_until(words: list[str]) -> list[str]:
    kept = [word for word in words if not word.startswith("--until=")]
    if "--until" in kept:
        place = kept.index("--until")
        del kept[place : place + 2]
    return kept
