"""What a run tells of itself while it goes on, for whoever draws curves of it: read off the board, every few seconds.

Nothing is kept beside the board, so a state can be late by some seconds, but never wrong.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from search.board import Board, Cell

RUNNING, PAUSED, DONE, FAILED = 1, 2, 3, 4
STATES = {RUNNING: "running", PAUSED: "paused", DONE: "done", FAILED: "failed"}
SECONDS = 5.0  # between two readings
REST = 50.0  # and so many times as long as one takes: it reads all fold trials, and jobs wait meanwhile
# Fold trials that are told of one by one, the rest only in the sums: after the two thousandth set of labels that a
# process has ever given a metric, OpenTelemetry throws them all together into one.
MOST = 1500

Reading = tuple[str, float, dict[str, str]]  # name, value, labels


class Metrics(Protocol):
    def set(self, name: str, value: float, **labels: str) -> None: ...
    def count_fault(self, **labels: str) -> None: ...


class Monitor:
    """A watcher that knows which fold trials are told of, and sets all metrics anew when it is time to."""

    def __init__(self, board: Board, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self.board, self.metrics, self.clock = board, metrics, clock
        self.told = dict.fromkeys(list(begun(board))[-MOST // 2 :])  # of launches before, leaving room for this one
        self.due = -math.inf

    def __call__(self, event: str, facts: Mapping[str, Any]) -> None:
        cell = facts["config"], facts["fold"]
        if len(self.told) < MOST:
            self.told[cell] = None
        if event in ("fault", "failed") and cell in self.told:
            self.metrics.count_fault(config=cell[0], fold=str(cell[1]))

    def pulse(self) -> None:
        """To be called often; does something every few seconds."""
        began = self.clock()
        if began < self.due:
            return
        for name, value, labels in run_readings(self.board):
            self.metrics.set(name, value, **labels)
        for cell in self.told:
            for name, value, labels in fold_readings(self.board, cell):
                self.metrics.set(name, value, **labels)
        self.due = began + max(SECONDS, REST * (self.clock() - began))


def begun(board: Board) -> Iterator[Cell]:
    """Every fold trial that has a score or is being trained."""
    for config in board.entrants:
        for fold in range(board.folds):
            if board.curve(config, fold) or (config, fold) in board.out:
                yield config, fold


def state_of(board: Board, cell: Cell) -> int:
    """What becomes of a fold trial that was begun."""
    if cell in board.out:
        return RUNNING
    curve = board.curve(*cell)
    if any(math.isnan(score) for score in curve.values()):
        return FAILED
    return DONE if board.entrants[cell[0]].horizon in curve else PAUSED


def fold_readings(board: Board, cell: Cell) -> Iterator[Reading]:
    labels = {"config": cell[0], "fold": str(cell[1])}
    curve = {step: score for step, score in board.curve(*cell).items() if math.isfinite(score)}
    if curve:
        yield "score", curve[max(curve)], labels
    yield "step", max(curve, default=0), labels
    yield "gpu_seconds", board.gpu_seconds(*cell), labels
    yield "state", state_of(board, cell), labels


def run_readings(board: Board) -> Iterator[Reading]:
    yield "run_configs", len(board.entrants), {}
    yield "run_jobs_out", len(board.out), {}
    yield "run_gpu_seconds", board.spent, {}
    means = [
        sum(scores) / board.folds for config in board.entrants if len(scores := board.scores(config)) == board.folds
    ]
    if any(map(math.isfinite, means)):
        yield "run_best_mean", max(filter(math.isfinite, means)), {}
    counts: Counter[int] = Counter()
    seconds = dict.fromkeys(STATES, 0.0)
    for cell in begun(board):
        state = state_of(board, cell)
        counts[state] += 1
        seconds[state] += board.gpu_seconds(*cell)
    for state, name in STATES.items():
        yield "run_folds", counts[state], {"state": name}
        yield "run_gpu_seconds_by", seconds[state], {"outcome": name}
