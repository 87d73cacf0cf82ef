"""Metrics of a running search for Prometheus, read from the score table every few seconds.

No state is kept besides the score table, so a metric may be some seconds old but never wrong.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from search.race.score_table import Cell, ScoreTable

RUNNING, PAUSED, DONE, FAILED = 1, 2, 3, 4
STATES = {RUNNING: "running", PAUSED: "paused", DONE: "done", FAILED: "failed"}
MIN_INTERVAL = 5.0  # seconds between two updates
# An update reads all fold trials while jobs wait, so at least this many times its duration passes before the next one.
IDLE_FACTOR = 50.0
# Fold trials with metrics of their own; the others count in the sums only. OpenTelemetry merges everything that a
# process exports after the two thousandth set of labels of a metric.
MAX_FOLD_TRIALS = 1500

Reading = tuple[str, float, dict[str, str]]  # name, value, labels


class Metrics(Protocol):
    def set(self, name: str, value: float, **labels: str) -> None: ...
    def count_fault(self, **labels: str) -> None: ...


class Monitor:
    """A listener that tracks which fold trials have metrics of their own, and updates all metrics from time to time."""

    def __init__(self, score_table: ScoreTable, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self.score_table, self.metrics, self.clock = score_table, metrics, clock
        # At most half are from earlier launches, which leaves room for this one.
        self.tracked = dict.fromkeys(list(begun(score_table))[-MAX_FOLD_TRIALS // 2 :])
        self.next_update = -math.inf

    def __call__(self, event: str, facts: Mapping[str, Any]) -> None:
        cell = facts["config"], facts["fold"]
        if len(self.tracked) < MAX_FOLD_TRIALS:
            self.tracked[cell] = None
        if event in ("fault", "failed") and cell in self.tracked:
            self.metrics.count_fault(config=cell[0], fold=str(cell[1]))

    def update(self) -> None:
        """Update the metrics if an update is due; call it often."""
        started = self.clock()
        if started < self.next_update:
            return
        for name, value, labels in run_readings(self.score_table):
            self.metrics.set(name, value, **labels)
        for cell in self.tracked:
            for name, value, labels in fold_readings(self.score_table, cell):
                self.metrics.set(name, value, **labels)
        self.next_update = started + max(MIN_INTERVAL, IDLE_FACTOR * (self.clock() - started))


def begun(score_table: ScoreTable) -> Iterator[Cell]:
    """Every fold trial that has a score or is running."""
    for config in score_table.entrants:
        for fold in range(score_table.folds):
            if score_table.curve(config, fold) or (config, fold) in score_table.outstanding:
                yield config, fold


def state_of(score_table: ScoreTable, cell: Cell) -> int:
    if cell in score_table.outstanding:
        return RUNNING
    curve = score_table.curve(*cell)
    if not all(map(math.isfinite, curve.values())):
        return FAILED
    return DONE if score_table.entrants[cell[0]].horizon in curve else PAUSED


def fold_readings(score_table: ScoreTable, cell: Cell) -> Iterator[Reading]:
    labels = {"config": cell[0], "fold": str(cell[1])}
    curve = {step: score for step, score in score_table.curve(*cell).items() if math.isfinite(score)}
    if curve:
        yield "score", score_table.shown(curve[max(curve)]), labels
    yield "step", max(curve, default=0), labels
    yield "gpu_seconds", score_table.gpu_seconds(*cell), labels
    yield "state", state_of(score_table, cell), labels


def run_readings(score_table: ScoreTable) -> Iterator[Reading]:
    yield "run_configs", len(score_table.entrants), {}
    yield "run_jobs_out", len(score_table.outstanding), {}
    yield "run_gpu_seconds", score_table.spent, {}
    means = [
        sum(scores) / score_table.folds
        for config in score_table.entrants
        if len(scores := score_table.scores(config)) == score_table.folds
    ]
    if any(map(math.isfinite, means)):
        yield "run_best_mean", score_table.shown(max(filter(math.isfinite, means))), {}
    counts: Counter[int] = Counter()
    seconds = dict.fromkeys(STATES, 0.0)
    for cell in begun(score_table):
        state = state_of(score_table, cell)
        counts[state] += 1
        seconds[state] += score_table.gpu_seconds(*cell)
    for state, name in STATES.items():
        yield "run_folds", counts[state], {"state": name}
        yield "run_gpu_seconds_by", seconds[state], {"outcome": name}
