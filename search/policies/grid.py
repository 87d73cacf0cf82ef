"""The full grid: all folds of all configs, fold after fold. Other policies are measured against it."""

from collections.abc import Iterable, Iterator

from search.messages import Answer, Entrant, Job, Report
from search.policies.contract import Policy
from search.race.answer import best_complete


class Grid(Policy):
    screens_first = False

    def __init__(self, entrants: Iterable[Entrant], folds: int, budget: float | None = None) -> None:
        super().__init__(entrants, folds, budget)
        self._first_open = [0] * folds  # per fold, the first config that is not settled

    def choose(self) -> Job | None:
        return next(self.eligible(), None)

    def eligible(self) -> Iterator[Job]:
        entrants = list(self.score_table.entrants.values())
        for fold in range(self.score_table.folds):
            while self._first_open[fold] < len(entrants) and self._settled(entrants[self._first_open[fold]], fold):
                self._first_open[fold] += 1
            for entrant in entrants[self._first_open[fold] :]:
                if (entrant.config, fold) not in self.score_table.outstanding and not self._settled(entrant, fold):
                    yield Job(entrant.config, fold, entrant.horizon)

    def _settled(self, entrant: Entrant, fold: int) -> bool:
        return entrant.config in self.score_table.failed or self.score_table.full(entrant.config, fold) is not None

    def judge(self, report: Report) -> str | None:
        return None

    def answer(self) -> Answer:
        return best_complete(self.score_table)
