"""How often a fold trial may fail before its config is given up."""

from collections import Counter
from enum import Enum, auto

from search.race.score_table import Cell
from trainable.errors import UserError

MAX_START_FAILURES = 5  # in a row, over all fold trials or of one: then the environment is broken


class Failure(Enum):
    """Why the process of a fold trial ended."""

    CRASHED = auto()
    NOT_STARTED = auto()  # the worker could not be started
    NODE_LOST = auto()  # which is not the fold trial's fault
    OUT_OF_MEMORY = auto()  # killed by Ray because its node was short of memory
    WRONG_NODE = auto()  # started on a node that must not train, and trained nothing


class FailureLimits:
    """Counts crashes for the whole run, other failures only until the fold trial reports again.

    A lost node is no failure of the fold trial, but one that takes down every node it runs on must end at some point.
    """

    def __init__(self, retries: int, lost_nodes: int = 10) -> None:
        self.retries, self.lost_nodes = retries, lost_nodes
        self.crashes: Counter[Cell] = Counter()
        self.losses: Counter[Cell] = Counter()
        self.failed_starts: Counter[Cell | None] = Counter()  # None counts those of all fold trials

    def reported(self, cell: Cell) -> None:
        self.failed_starts.pop(None, None)
        self.failed_starts.pop(cell, None)
        self.losses.pop(cell, None)

    def allows_retry(self, cell: Cell, failure: Failure, message: str) -> bool:
        """Count a failure and say whether the fold trial may be retried."""
        if failure is Failure.NODE_LOST:
            self.losses[cell] += 1
            return self.losses[cell] <= self.lost_nodes
        if failure is Failure.NOT_STARTED:
            self.failed_starts.update([None, cell])
            if MAX_START_FAILURES in (self.failed_starts[None], self.failed_starts[cell]):
                raise UserError(f"{MAX_START_FAILURES} workers in a row could not be started; last error: {message}")
            return True
        self.crashes[cell] += 1
        return self.crashes[cell] <= self.retries
