"""How often a fold trial may die before its config is given up."""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto

from search.race.score_table import Cell
from trainable.errors import UserError

STARTS = 5  # workers in a row that cannot be started at all, of all fold trials or of one: it is the environment then


class Failure(Enum):
    """Why the process of a fold trial is gone."""

    CRASHED = auto()
    NOT_STARTED = auto()  # before it could do anything
    NODE_LOST = auto()  # with its machine, which nobody can blame it for
    OUT_OF_MEMORY = auto()  # killed by Ray, because its machine had next to none left
    WRONG_NODE = auto()  # it should not have been there, and has done nothing yet


class FailureLimits:
    """Counts deaths: those of its own doing for good, all others until the fold trial reports again.

    A machine that leaves is no failure. But a fold trial that takes down every machine it comes to must end some day.
    """

    def __init__(self, retries: int, machines: int = 10) -> None:
        self.retries, self.machines = retries, machines
        self.crashes: Counter[Cell] = Counter()
        self.left: Counter[Cell] = Counter()
        self.unstarted: Counter[Cell | None] = Counter()  # None stands for all

    def reported(self, cell: Cell) -> None:
        self.unstarted.pop(None, None)
        self.unstarted.pop(cell, None)
        self.left.pop(cell, None)

    def allows_retry(self, cell: Cell, death: Failure, message: str) -> bool:
        """Note a death; whether the fold trial is to be tried again."""
        if death is Failure.NODE_LOST:
            self.left[cell] += 1
            return self.left[cell] <= self.machines
        if death is Failure.NOT_STARTED:
            self.unstarted.update([None, cell])
            if STARTS in (self.unstarted[None], self.unstarted[cell]):
                raise UserError(f"{STARTS} workers in a row could not be started; the last one said: {message}")
            return True
        self.crashes[cell] += 1
        return self.crashes[cell] <= self.retries
