"""FoldRace: every config starts fold 0, and is trained further only while it has a chance to win.

docs/foldrace.md describes the procedure, docs/foldrace_measured.md the model.
"""

from collections.abc import Iterable, Iterator
from itertools import repeat

import numpy as np

from search.messages import Answer, Entrant, Job, Report
from search.policies.contract import Policy
from search.policies.job_queue import JobQueue
from search.race.answer import best_complete
from search.race.race_state import RaceState, Rules, compute_race
from search.race.score_matrix import ScoreMatrix
from trainable.errors import UserError

# Computing the state of a race takes time proportional to the number of configs. Up to EXACT configs it is computed
# after every update, beyond that after updates for a SHARE of the additional configs.
EXACT, SHARE = 1_000, 0.02
FEW = 0.75  # of the largest number of outstanding jobs so far: with fewer, some workers are idle
LEFT = 0.25  # of the configs of a large race remain in it after each further fold, about

Entry = tuple[int, int, float, int]  # the stage, two sort keys within it, the row
Advance = tuple[int, int, int]  # how many folds a config may train besides its next one, its place, the row


class FoldRace(Policy):
    def __init__(
        self,
        entrants: Iterable[Entrant],
        folds: int,
        budget: float | None = None,
        rungs: tuple[float, ...] = (0.5, 0.625, 0.75, 0.875),
        keep: float = 0.83,
        delta: float = 0.1,
        stratify: str | None = None,
    ) -> None:
        if not all(0 < rung < 1 for rung in rungs) or list(rungs) != sorted(set(rungs)):
            raise UserError(f"rungs = {list(rungs)}: must rise, each above 0 and below 1")
        if not 0 < keep <= 1:
            raise UserError(f"keep = {keep}: must be above 0 and at most 1")
        if not 0 <= delta < 0.5:
            raise UserError(f"delta = {delta}: must be 0 or more and below 0.5")
        self.rungs, self.rules = rungs, Rules(keep, delta, stratify)
        if stratify:
            self.rules_version = 4  # the third rounded up the share of each stratum, so few configs were never paused
        super().__init__((), folds, budget)
        self._matrix = ScoreMatrix(self.score_table, rungs)
        self._updates = 0  # of the score matrix since the snapshot
        self._most_outstanding = 0
        self._screening: JobQueue[tuple[int]] = JobQueue(self._screening_job)
        self._computed: RaceState | None = None
        self._take_snapshot()
        for entrant in entrants:
            self.add(entrant)

    def add(self, entrant: Entrant) -> None:
        super().add(entrant)
        if entrant.config not in self._matrix.row:
            self._matrix.add(entrant)
            self._screening.put((self._matrix.row[entrant.config],))
            self._count_update()

    def note(self, report: Report) -> bool:
        new = super().note(report)
        if new and self._matrix.update(report):
            self._count_update()
        return new

    def release_job(self, config: str, fold: int) -> None:
        self._most_outstanding = max(self._most_outstanding, len(self.score_table.outstanding))
        super().release_job(config, fold)
        row, outstanding = self._matrix.row[config], len(self.score_table.outstanding)
        self._screening.put((row,))
        if self._promoted is not None and (entry := self._entry(row)) is not None:
            self._promoted.put(entry)
        if self._updates and outstanding < FEW * self._most_outstanding and self._updates >= outstanding:
            self._take_snapshot()

    def choose(self) -> Job | None:
        if not self.score_table.entrants:
            return None
        return self._screening.first() or self._promotions().first() or next(self._speculate(), None)

    def eligible(self) -> Iterator[Job]:
        yield from self._screening.all()
        yield from self._promotions().all()

    def judge(self, report: Report) -> str | None:
        """In fold 0 every job ends at a rung, so that all configs get there first; in later folds only losers pause.

        The snapshot of a large race may be older than a report at a rung, so its losers also pause after the last rung.
        """
        rungs = self._matrix.steps[self._matrix.row[report.config]][:-1]
        late = self._configs_beyond_exact > 0 and rungs and report.step > rungs[-1]
        if report.fold and (late or report.step in rungs):
            return self.why(report.config)
        if report.fold or report.step not in rungs:
            return None
        job = self.score_table.outstanding.get((report.config, 0))
        if job is not None and job.until > report.step:
            return None
        return f"paused: step {report.step} of fold 0 reached, resumes if it may still win"

    def why(self, config: str) -> str | None:
        if config in self.score_table.failed:
            return f"failed: a score of fold {self.score_table.failed[config][1]} is not a number, the worst there is"
        state, row = self._state(), self._matrix.row[config]
        return state.pause_reason(row) if row < len(state) else None

    def answer(self) -> Answer:
        return best_complete(self.score_table, self.rungs)

    def _count_update(self) -> None:
        self._updates += 1
        if self._updates > SHARE * self._configs_beyond_exact:
            self._take_snapshot()

    @property
    def _configs_beyond_exact(self) -> int:
        return max(0, len(self.score_table.entrants) - EXACT)

    def _take_snapshot(self) -> None:
        """Compute the state of the race, when next needed, from the scores as they are now.

        Only records of the journal may lead here, so that replaying them leads to the same state.
        """
        self._updates, self._snapshot = 0, self._matrix.snapshot()
        self._stale = True
        self._promoted: JobQueue[Entry] | None = None
        self._in_advance: JobQueue[Advance] | None = None

    def _state(self) -> RaceState:
        if self._computed is None or self._stale:
            self._computed, self._stale = compute_race(self._snapshot, self.rules, self._computed), False
        return self._computed

    def _screening_job(self, entry: tuple[int]) -> Job | None:
        """The job of a config that has not reached the first rung of fold 0."""
        (row,), matrix = entry, self._matrix
        name = matrix.names[row]
        reached = not np.isnan(matrix.at_rung(0)[row, 0])
        if reached or name in self.score_table.failed or (name, 0) in self.score_table.outstanding:
            return None
        return Job(name, 0, matrix.steps[row][0])

    def _promotions(self) -> JobQueue[Entry]:
        """First the configs that are promoted to a further rung of fold 0. Then the next fold of each config that may
        still win, one fold at a time: fewest folds first, then the best mean.
        """
        if self._promoted is None:
            self._promoted = JobQueue(self._promoted_job, self._entries())
        return self._promoted

    def _entries(self) -> Iterator[Entry]:
        state, matrix = self._state(), self._matrix
        for index in range(1, len(self.rungs)):
            waiting = np.isnan(matrix.at_rung(index)[:, 0]) & np.isfinite(matrix.at_rung(index - 1)[:, 0])
            rows = np.flatnonzero(waiting[: len(state)] & state.promoted)
            yield from (self._screening_entry(index, row) for row in rows.tolist())
        rows = np.flatnonzero(state.active)
        folds = np.isfinite(matrix.full[rows]).sum(1)
        yield from zip(repeat(1), folds.tolist(), (-state.standings.mean[rows]).tolist(), rows.tolist(), strict=False)

    def _entry(self, row: int) -> Entry | None:
        """The queue entry of a config, whether or not it has an outstanding job."""
        state, matrix = self._state(), self._matrix
        if row >= len(state):
            return None
        for index in range(1, len(self.rungs)):
            here, before = matrix.at_rung(index)[row, 0], matrix.at_rung(index - 1)[row, 0]
            if np.isnan(here) and np.isfinite(before) and state.promoted[row]:
                return self._screening_entry(index, row)
        if not state.active[row]:
            return None
        return 1, int(np.isfinite(matrix.full[row]).sum()), -float(state.standings.mean[row]), row

    def _screening_entry(self, index: int, row: int) -> Entry:
        """In a large race, whose last rungs have fewer configs than workers, what takes longest comes first."""
        if self._configs_beyond_exact:
            step, horizon = self._matrix.steps[row][index - 1], self._matrix.steps[row][-1]
            left = self.score_table.seconds(self._matrix.names[row], 0) * (horizon - step) / step
            return 0, index, -left, row
        return 0, index, float(self._state().ranks[row]), row

    def _promoted_job(self, entry: Entry) -> Job | None:
        stage, index, _, row = entry
        name = self._matrix.names[row]
        if name in self.score_table.failed or entry != self._entry(row):
            return None
        if stage == 0:
            busy = (name, 0) in self.score_table.outstanding
            return None if busy else Job(name, 0, self._matrix.steps[row][index])
        return None if self.score_table.busy(name) else self._next_fold(row)

    def _speculate(self) -> Iterator[Job]:
        """Jobs for workers that would be idle: the folds that the best configs need next if they stay ahead."""
        for row in self._state().best:
            if self._matrix.names[row] not in self.score_table.failed and (job := self._next_fold(row)) is not None:
                yield job
        if self._configs_beyond_exact and (advance := self._advances().first()) is not None:
            yield advance

    def _advances(self) -> JobQueue[Advance]:
        """Further folds of those configs of a large race that will probably need them: of the best LEFT of all that are
        in the race two at once, of the best LEFT of these three, and so on.
        """
        if self._in_advance is None:
            state, most = self._state(), self.score_table.folds - 1
            rows = np.flatnonzero(state.active & state.standings.candidates)
            rows = rows[np.argsort(-state.standings.mean[rows], kind="stable")]
            shares = [(more, int(len(rows) * LEFT**more)) for more in range(1, most + 1)]
            entries = [(more, place, int(rows[place])) for more, count in shares for place in range(count)]
            self._in_advance = JobQueue(self._advance, entries)
        return self._in_advance

    def _advance(self, entry: Advance) -> Job | None:
        more, _, row = entry
        name, table = self._matrix.names[row], self.score_table
        outstanding = sum((name, fold) in table.outstanding for fold in range(table.folds))
        return None if name in table.failed or outstanding > more else self._next_fold(row)

    def _next_fold(self, row: int) -> Job | None:
        config = self._matrix.names[row]
        fold = next(iter(self.score_table.open_folds(config)), None)
        return None if fold is None else Job(config, fold, self._matrix.steps[row][-1])
