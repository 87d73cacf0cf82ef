"""Successive halving over folds: fold 0 for every config, then a fixed number of configs on each further fold."""

import math
from collections.abc import Iterable, Iterator

from search.messages import Answer, Entrant, Job, Report
from search.policies.contract import Policy
from search.race.answer import best_complete
from trainable.errors import UserError

SHARES = (1 / 3, 1 / 9, 1 / 18)


class Halving(Policy):
    """``quotas`` are the numbers of configs that train folds 1, 2, ...; the last one applies to all further folds.

    The default is a third of all configs, a ninth, then an eighteenth: 24, 8 and 4 of 72. Each fold is a stage that
    starts when the previous one is complete, with the configs that have the best mean over the folds so far.
    """

    def __init__(
        self,
        entrants: Iterable[Entrant],
        folds: int,
        budget: float | None = None,
        quotas: tuple[int, ...] | None = None,
    ) -> None:
        if quotas is not None and (not quotas or not all(quota >= 1 for quota in quotas)):
            raise UserError(f"quotas = {list(quotas)}: every quota must be at least 1")
        self.quotas = quotas
        self._stage: tuple[int, list[str]] | None = None  # a cache, cleared when a report changes it
        super().__init__(entrants, folds, budget)

    def add(self, entrant: Entrant) -> None:
        super().add(entrant)
        self._stage = None

    def note(self, report: Report) -> bool:
        if report.step == self.score_table.entrants[report.config].horizon or not math.isfinite(report.score):
            self._stage = None
        return super().note(report)

    def choose(self) -> Job | None:
        return next(self.eligible(), None)

    def eligible(self) -> Iterator[Job]:
        fold, members = self._current()
        for config in members:
            if fold in self.score_table.open_folds(config):
                yield Job(config, fold, self.score_table.entrants[config].horizon)

    def judge(self, report: Report) -> str | None:
        return None

    def why(self, config: str) -> str | None:
        """The reason why a config that lacks folds is not trained any further."""
        for fold in range(1, self._current()[0] + 1):
            if self.score_table.full(config, fold) is None and config not in self._current()[1]:
                folds = "fold 0" if fold == 1 else f"folds 0-{fold - 1}"
                return f"paused: outside the top {self._quota(fold)} on {folds}"
        return None

    def answer(self) -> Answer:
        return best_complete(self.score_table)

    def _current(self) -> tuple[int, list[str]]:
        self._stage = self._stage or self._compute_stage()
        return self._stage

    def _compute_stage(self) -> tuple[int, list[str]]:
        """The first incomplete fold, or the last one if all are complete, and the configs that train it."""
        members, fold = [entrant.config for entrant in self.score_table.alive()], 0
        for fold in range(self.score_table.folds):
            if fold:
                members = sorted(members, key=lambda config: -self._mean(config, fold))[: self._quota(fold)]
            if any(self.score_table.full(config, fold) is None for config in members):
                break
        return fold, members

    def _quota(self, fold: int) -> int:
        if self.quotas is not None:
            return self.quotas[min(fold, len(self.quotas)) - 1]
        share = SHARES[min(fold, len(SHARES)) - 1]
        return max(1, math.ceil(share * len(self.score_table.entrants) - 1e-9))

    def _mean(self, config: str, folds: int) -> float:
        return sum(self.score_table.full(config, fold) or 0.0 for fold in range(folds)) / folds
