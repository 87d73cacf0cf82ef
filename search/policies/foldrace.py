"""FoldRace: every config starts fold 0, and goes on only while the race says that it may still win.

The whole of it is told in docs/foldrace.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat

import numpy as np

from search.messages import Answer, Entrant, Job, Report
from search.policies.contract import Policy
from search.policies.job_queue import JobQueue
from search.race.answer import default_prior, find_winner, ranked_names
from search.race.forecast import forecast_all
from search.race.mixed_model import Prior
from search.race.race_state import RaceState, Rules, compute_race
from search.race.score_matrix import ScoreMatrix
from trainable.errors import UserError

# To judge takes time in proportion to the configs. So many are judged at every report; of the others, for this share
# of them a report more comes first.
EXACT, SHARE = 1_000, 0.02
FEW = 0.75  # of the most jobs that were ever out: with fewer, workers are idle

Entry = tuple[int, int, float, int]  # the stage, what comes first in it, then the row


class FoldRace(Policy):
    def __init__(
        self,
        entrants: Iterable[Entrant],
        folds: int,
        budget: float | None = None,
        rungs: tuple[float, ...] = (0.5,),
        keep: float = 0.6,
        delta: float = 0.05,
        stratify: str | None = None,
        prior: Prior | None = None,
    ) -> None:
        if not all(0 < rung < 1 for rung in rungs) or list(rungs) != sorted(set(rungs)):
            raise UserError(f"rungs = {list(rungs)}: must rise, each above 0 and below 1")
        if not 0 < keep <= 1:
            raise UserError(f"keep = {keep}: must be above 0 and at most 1")
        if not 0 <= delta < 0.5:
            raise UserError(f"delta = {delta}: must be 0 or more and below 0.5")
        self.rungs, self.rules = rungs, Rules(keep, delta, stratify, prior or default_prior())
        super().__init__((), folds, budget)
        self._sheet = ScoreMatrix(self.score_table, rungs)
        self._news = 0  # what the sheet was told since the moment that the race is judged from
        self._most_out = 0
        self._screening: JobQueue[tuple[int]] = JobQueue(self._screened)
        self._mark()
        for entrant in entrants:
            self.add(entrant)

    def add(self, entrant: Entrant) -> None:
        super().add(entrant)
        if entrant.config not in self._sheet.row:
            self._sheet.add(entrant)
            self._screening.put((self._sheet.row[entrant.config],))
            self._hear()

    def note(self, report: Report) -> bool:
        new = super().note(report)
        if new and self._sheet.write(report):
            self._hear()
        return new

    def release_job(self, config: str, fold: int) -> None:
        self._most_out = max(self._most_out, len(self.score_table.outstanding))
        super().release_job(config, fold)
        row, out = self._sheet.row[config], len(self.score_table.outstanding)
        self._screening.put((row,))
        if self._going is not None and (entry := self._entry(row)) is not None:
            self._going.put(entry)
        if self._news and out < FEW * self._most_out and self._news >= out:
            self._mark()

    def choose(self) -> Job | None:
        if not self.score_table.entrants:
            return None
        return self._screening.first() or self._go_on().first() or next(self._speculate(), None)

    def eligible(self) -> Iterator[Job]:
        yield from self._screening.all()
        yield from self._go_on().all()

    def judge(self, report: Report) -> str | None:
        """Rungs pause. In fold 0 every job ends at one, so that all configs get there first; later, only
        losers do. A large race hears of a rung after the verdict, so there losers also pause later on.
        """
        rungs = self._sheet.steps[self._sheet.row[report.config]][:-1]
        late = self._large > 0 and rungs and report.step > rungs[-1]
        if report.fold and (late or report.step in rungs):
            return self.why(report.config)
        if report.fold or report.step not in rungs:
            return None
        job = self.score_table.outstanding.get((report.config, 0))
        waits = job is None or job.until <= report.step
        return f"paused: step {report.step} of fold 0 reached, goes on if it may still win" if waits else None

    def why(self, config: str) -> str | None:
        """Why the race would not train this config as things stand; None where it would."""
        if config in self.score_table.failed:
            return f"failed: a score of fold {self.score_table.failed[config][1]} is not a number, the worst there is"
        race, row = self._now(), self._sheet.row[config]
        return race.pause_reason(row) if row < len(race) else None

    def answer(self) -> Answer:
        if not self.score_table.entrants:
            return Answer(None, ())
        return find_winner(self._sheet, forecast_all(self._sheet, self.rules.prior), self.rules.prior)

    def ranking(self) -> tuple[str, ...]:
        race = self._now()
        rows = np.flatnonzero(race.standings.candidates & race.table.known.any(1))
        return ranked_names(self._sheet, rows, race.standings.mean)

    def _hear(self) -> None:
        self._news += 1
        if self._news > SHARE * self._large:
            self._mark()

    @property
    def _large(self) -> int:
        """By how many configs the race is too large to be judged at every report."""
        return max(0, len(self.score_table.entrants) - EXACT)

    def _mark(self) -> None:
        """From now on, what stands on the sheet now is what the race is judged from, whenever it is asked for.

        Only records may come here, so that replaying them leads to the same race.
        """
        self._news, self._basis = 0, self._sheet.snapshot()
        self._race: RaceState | None = None
        self._going: JobQueue[Entry] | None = None

    def _now(self) -> RaceState:
        if self._race is None:
            self._race = compute_race(self._basis, self.rules)
        return self._race

    def _screened(self, entry: tuple[int]) -> Job | None:
        """Breadth first: whoever has not reached the first rung of fold 0."""
        (row,), score_matrix = entry, self._sheet
        name = score_matrix.names[row]
        there = not np.isnan(score_matrix.at(0)[row, 0])
        if there or name in self.score_table.failed or (name, 0) in self.score_table.outstanding:
            return None
        return Job(name, 0, score_matrix.steps[row][0])

    def _go_on(self) -> JobQueue[Entry]:
        """Whoever may go on to a further rung of fold 0; then the next fold of whoever may still win: the
        fewest folds first, then the best; one fold at a time.
        """
        if self._going is None:
            self._going = JobQueue(self._given, self._entries())
        return self._going

    def _entries(self) -> Iterator[Entry]:
        race, score_matrix = self._now(), self._sheet
        for place in range(1, len(self.rungs)):
            waits = np.isnan(score_matrix.at(place)[:, 0]) & np.isfinite(score_matrix.at(place - 1)[:, 0])
            yield from ((0, place, 0.0, row) for row in np.flatnonzero(waits[: len(race)] & race.leaves).tolist())
        rows = np.flatnonzero(race.runs)
        folds = np.isfinite(score_matrix.full[rows]).sum(1)
        yield from zip(repeat(1), folds.tolist(), (-race.standings.mean[rows]).tolist(), rows.tolist(), strict=False)

    def _entry(self, row: int) -> Entry | None:
        """The place of a config in the queue, whether or not somebody trains it."""
        race, score_matrix = self._now(), self._sheet
        if row >= len(race):
            return None
        for place in range(1, len(self.rungs)):
            here, before = score_matrix.at(place)[row, 0], score_matrix.at(place - 1)[row, 0]
            if np.isnan(here) and np.isfinite(before) and race.leaves[row]:
                return 0, place, 0.0, row
        if not race.runs[row]:
            return None
        return 1, int(np.isfinite(score_matrix.full[row]).sum()), -float(race.standings.mean[row]), row

    def _given(self, entry: Entry) -> Job | None:
        stage, place, _, row = entry
        name = self._sheet.names[row]
        if name in self.score_table.failed or entry != self._entry(row):
            return None
        if stage == 0:
            return None if (name, 0) in self.score_table.outstanding else Job(name, 0, self._sheet.steps[row][place])
        return None if self.score_table.busy(name) else next(self._next_fold(row), None)

    def _speculate(self) -> Iterator[Job]:
        """For workers that would idle: the folds that the best configs will need next if they stay ahead."""
        for row in self._now().best:
            if self._sheet.names[row] not in self.score_table.failed:
                yield from self._next_fold(row)

    def _next_fold(self, row: int) -> Iterator[Job]:
        config = self._sheet.names[row]
        for fold in self.score_table.open_folds(config)[:1]:
            yield Job(config, fold, self._sheet.steps[row][-1])
