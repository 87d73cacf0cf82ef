"""A run that the server follows: its journal is read once, and then only what is added to it."""

import math
import time
from dataclasses import dataclass

from search.runs.cost_estimate import CostEstimate, estimate_cost
from search.runs.fold_states import STATES
from search.runs.journal import Line, Tail
from search.runs.run_folder import SPACE, Run
from search.runs.status import Status, new_status, note_valid
from spaces.space import Space
from trainable.errors import UserError

Files = list[tuple[int, int, int] | None]
RETRY = 5.0  # seconds until a run that could not be read is read again as it is: a plugin may be allowed meanwhile


@dataclass(frozen=True)
class Snapshot:
    """What the pages show of a run; ``best`` has (seconds spent, mean) whenever a complete config was the best yet.

    ``version`` counts the changes. ``problem`` says why the run cannot be read; then all else is empty.
    """

    name: str
    version: int
    problem: str = ""
    state: str = ""
    running: bool = False
    space: Space | None = None
    configs: int = 0
    counts: tuple[tuple[str, int], ...] = ()
    spent: float = 0.0
    device: str = "GPU"  # whose time that is
    estimate: CostEstimate | None = None
    elapsed: float = 0.0
    leader: str = ""
    mean: float = math.nan
    sd: float = math.nan
    folds: int = 0  # behind mean
    best: tuple[tuple[float, float], ...] = ()
    left_out: tuple[str, ...] = ()  # problems of records of the journal that could not be used


class FollowedRun:
    """Not thread-safe: one thread calls ``read``; its snapshots may be read by any."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.snapshot = Snapshot(run.name, 0)
        self._space: Space | None = None
        self._unreadable: Files | None = None  # which could not be read as they were
        self._again = 0.0  # when they are read again
        self._forget()

    def read(self) -> bool:
        """Read what is new and return whether anything changed."""
        files = None
        try:
            self.run.refresh()
            files = self._files()
            if files == self._unreadable and time.monotonic() < self._again:
                return False
            changed = self._read()
            self._unreadable = None
        except Exception as error:  # noqa: BLE001  the list shows what is wrong with one run and all other runs
            self._unreadable, self._again = files, time.monotonic() + RETRY
            problem = str(error) if isinstance(error, UserError) else f"cannot be read ({error!r})"
            changed = problem != self.snapshot.problem
            if changed:
                self.snapshot = Snapshot(self.run.name, self.snapshot.version + 1, problem)
                self._forget()
        return changed

    def _files(self) -> Files:
        """What changes when the space or the journal does."""
        states = [path.stat() if path.exists() else None for path in (self.run.folder / SPACE, self.run.journal)]
        return [(state.st_ino, state.st_size, state.st_mtime_ns) if state else None for state in states]

    def _forget(self) -> None:
        self._left_out: list[str] = []
        self._tail = Tail(self.run.journal, self._left_out.append)
        self._status: Status | None = None
        self._best: list[tuple[float, float]] = []

    def _read(self) -> bool:
        driven = self._driven()  # before reading: a driver that ends meanwhile writes an end record
        known = len(self._left_out)
        lines = self._tail.read()
        found = bool(lines) or self._tail.restarted or len(self._left_out) > known
        if self._status is not None and not found and driven == self._status.driven:
            return False
        if self._status is None or self._tail.restarted:
            del self._left_out[:known]
            self._space, self._best = self.run.space(), []
            self._status = new_status(self._space)
        for line in note_valid(self._status, lines, self.run.journal, self._left_out):
            if line.kind == "report":
                self._note_best(self._status, line)
        self._status.set_driven(driven)
        self.snapshot = self._taken(self._status)
        return True

    def _driven(self) -> bool:
        """Whether a driver is running; of a journal that has not changed since there was none, there still is none."""
        known = self._status
        if known is not None and not known.driven and not self._tail.grown():
            return False
        return self.run.driven

    def _note_best(self, status: Status, line: Line) -> None:
        config, table = line.fields["config"], status.score_table
        if table.complete(config):
            scores = table.scores(config)
            mean = math.fsum(scores) / len(scores)
            if not self._best or mean > table.shown(self._best[-1][1]):
                self._best.append((table.spent, table.shown(mean)))

    def _taken(self, status: Status) -> Snapshot:
        leader = status.leader or {"id": "", "mean": None, "sd": None, "folds": 0}
        counts = {state: status.count(state) for state in STATES}
        table = status.score_table
        counts["waiting"] = len(table.entrants) * table.folds - sum(counts.values())
        return Snapshot(
            self.run.name,
            self.snapshot.version + 1,
            state=status.state,
            running=status.driven and not status.ended,
            space=self._space,
            configs=len(table.entrants),
            counts=tuple(counts.items()),
            spent=table.spent,
            device=status.device,
            estimate=estimate_cost(status),
            elapsed=status.elapsed(time.time()),
            leader=leader["id"],
            mean=math.nan if leader["mean"] is None else leader["mean"],
            sd=math.nan if leader["sd"] is None else leader["sd"],
            folds=leader["folds"],
            best=tuple(self._best),
            left_out=tuple(self._left_out),
        )
