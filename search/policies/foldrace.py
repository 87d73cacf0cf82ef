"""FoldRace: every config starts fold 0, and goes on only while the race says that it may still win.

The whole of it is told in docs/foldrace.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from search.answer import best_first, best_of, usual_prior
from search.forecast import forecast
from search.mixed_model import Array, Prior, Table
from search.policy import Policy
from search.sheet import Sheet
from search.standings import Standings, stand
from search.words import Answer, Entrant, Job, Report
from trainable.errors import UserError

SPECULATED = 5  # of the best configs, the folds that idle workers may run ahead


@dataclass(frozen=True)
class Race:
    """What follows from the facts of one moment, one entry per config."""

    table: Table
    standings: Standings
    ranks: NDArray[np.int_]  # within the block (and stratum), by the expected mean
    places: NDArray[np.int_]  # how many of them may leave the rungs
    dropped: NDArray[np.bool_]  # too little chance to win
    risk: float  # the chances of all that are dropped, together


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
        self.rungs, self.keep, self.delta, self.stratify = rungs, keep, delta, stratify
        self.prior = prior or usual_prior()
        super().__init__((), folds, budget)
        self._sheet = Sheet(self.board, rungs)
        self._race: Race | None = None
        for entrant in entrants:
            self.add(entrant)

    def add(self, entrant: Entrant) -> None:
        super().add(entrant)
        self._sheet.add(entrant)
        self._race = None

    def note(self, report: Report) -> bool:
        new = super().note(report)
        if new and self._sheet.write(report):
            self._race = None
        return new

    def choose(self) -> Job | None:
        return next(chain(self.eligible(), self._speculate()), None)

    def eligible(self) -> Iterator[Job]:
        yield from self._screen()
        yield from self._go_on()

    def judge(self, report: Report) -> str | None:
        """Rungs pause. In fold 0 every job ends at one, so that all configs get there first; later, only
        losers do.
        """
        row = self._sheet.row[report.config]
        if report.step not in self._sheet.steps[row][:-1]:
            return None
        if report.fold == 0:
            job = self.board.out.get((report.config, 0))
            waits = job is None or job.until <= report.step
            return f"paused: step {report.step} of fold 0 reached, goes on if it may still win" if waits else None
        return self.why(report.config)

    def why(self, config: str) -> str | None:
        """Why the race would not train this config as things stand; None where it would."""
        race, row = self._now(), self._sheet.row[config]
        if config in self.board.failed:
            return f"failed: a score of fold {self.board.failed[config][1]} is not a number, the worst there is"
        if not race.standings.candidates[row]:
            return None
        if race.ranks[row] >= race.places[row]:
            return f"paused: rank {race.ranks[row] + 1} at the rung of fold 0, the best {race.places[row]} go on"
        if not race.dropped[row]:
            return None
        behind = race.standings.mean[race.standings.leader] - race.standings.mean[row]
        seen = np.flatnonzero(race.table.known[row])
        folds = f"fold {seen[0]}" if len(seen) == 1 else f"folds {seen[0]}-{seen[-1]}"
        return (
            f"paused: {behind:.3f} behind the leader on {folds},"
            f" chance to win {100 * race.standings.chance[row]:.1f} %"
            f" ({100 * race.risk:.1f} % with all that are paused)"
        )

    def answer(self) -> Answer:
        return best_of(self._sheet, self._now().table, self.prior)

    def ranking(self) -> tuple[str, ...]:
        race = self._now()
        rows = np.flatnonzero(race.standings.candidates & race.table.known.any(1))
        return best_first(self._sheet, rows, race.standings.mean)

    def _screen(self) -> Iterator[Job]:
        """Breadth first: whoever has not reached the first rung of fold 0, or may go on to the next one."""
        sheet = self._sheet
        for place in range(max(1, len(self.rungs))):
            waiting = np.isnan(sheet.at(place)[:, 0]) & sheet.alive
            if place:
                waiting &= np.isfinite(sheet.at(place - 1)[:, 0]) & self._leaves()
            for row in np.flatnonzero(waiting):
                if (sheet.names[row], 0) not in self.board.out:
                    yield Job(sheet.names[row], 0, sheet.steps[row][place])

    def _go_on(self) -> Iterator[Job]:
        """The next fold of whoever may still win: the fewest folds first, then the best; one fold at a
        time.
        """
        busy = {config for config, _ in self.board.out}
        rows = np.flatnonzero(self._runs())
        folds = np.isfinite(self._sheet.full[rows]).sum(1)
        for row in rows[np.lexsort((-self._now().standings.mean[rows], folds))]:
            if self._sheet.names[row] not in busy:
                yield from self._next_fold(row)

    def _speculate(self) -> Iterator[Job]:
        """For workers that would idle: the folds that the best configs will need next if they stay ahead."""
        rows = np.flatnonzero(self._runs())
        for row in rows[np.argsort(-self._now().standings.mean[rows], kind="stable")][:SPECULATED]:
            yield from self._next_fold(row)

    def _next_fold(self, row: np.signedinteger) -> Iterator[Job]:
        config = self._sheet.names[row]
        for fold in self.board.open_folds(config)[:1]:
            yield Job(config, fold, self._sheet.steps[row][-1])

    def _leaves(self) -> NDArray[np.bool_]:
        race = self._now()
        return np.asarray(race.ranks < race.places)

    def _runs(self) -> NDArray[np.bool_]:
        race = self._now()
        return np.asarray(race.standings.candidates & self._leaves() & ~race.dropped)

    def _now(self) -> Race:
        if self._race is None:
            self._race = self._judge_all()
        return self._race

    def _judge_all(self) -> Race:
        sheet = self._sheet
        full = sheet.full
        count = np.isfinite(full).sum(0)
        levels = np.where(count, np.nansum(full, axis=0) / np.maximum(count, 1), np.nan)
        table = Table(full.copy(), np.zeros_like(full), sheet.design)
        for place in reversed(range(len(self.rungs))):
            for block in range(sheet.blocks.max(initial=-1) + 1):
                rows = np.flatnonzero(sheet.blocks == block)
                rung, shapes = sheet.at(place)[rows], sheet.shapes(place)[rows]
                part = forecast(table.part(rows), full[rows], rung, shapes, self.prior, levels)
                table.scores[rows], table.extra[rows] = part.scores, part.extra
        candidates = sheet.alive & (np.isfinite(sheet.at(len(self.rungs) - 1)[:, 0]) if self.rungs else True)
        standings = stand(table, self.prior, candidates)
        ranks, places = self._rank(standings.mean)
        dropped, risk = self._drop(standings)
        return Race(table, standings, ranks, places, dropped, risk)

    def _rank(self, mean: Array) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Ranks by the expected mean among all that reached the same rung of the same block (and stratum)."""
        sheet = self._sheet
        ranks, places = np.zeros(len(mean), dtype=int), np.full(len(mean), len(mean))
        groups = sheet.blocks
        if self.stratify:
            levels = np.unique(sheet.levels(self.stratify), return_inverse=True)[1]
            groups = groups * (levels.max(initial=0) + 1) + levels
        for place in range(len(self.rungs)):
            reached = np.isfinite(sheet.at(place)[:, 0])
            for group in np.unique(groups):
                rows = np.flatnonzero((groups == group) & reached)
                ranks[rows[np.argsort(-mean[rows], kind="stable")]] = np.arange(len(rows))
                places[rows] = math.ceil(self.keep * len(rows) - 1e-9)
        return ranks, places

    def _drop(self, standings: Standings) -> tuple[NDArray[np.bool_], float]:
        """The least likely winners, as many as have a chance of no more than delta together."""
        chance = np.where(standings.candidates, standings.chance, 0.0)
        order = np.argsort(chance, kind="stable")
        risk = np.cumsum(chance[order])
        dropped = np.zeros(len(chance), dtype=bool)
        dropped[order] = risk <= self.delta
        return dropped, float(risk[risk <= self.delta].max(initial=0.0))
