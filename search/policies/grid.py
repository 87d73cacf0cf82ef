"""Everything: all folds of all configs, fold after fold; what other policies are measured against."""

from __future__ import annotations

from collections.abc import Iterator

from search.answer import best_complete
from search.policy import Policy
from search.words import Answer, Job, Report


class Grid(Policy):
    def choose(self) -> Job | None:
        return next(self.eligible(), None)

    def eligible(self) -> Iterator[Job]:
        board = self.board
        for fold in range(board.folds):
            for entrant in board.standing():
                if (entrant.config, fold) not in board.out and board.full(entrant.config, fold) is None:
                    yield Job(entrant.config, fold, entrant.horizon)

    def judge(self, report: Report) -> str | None:
        return None

    def answer(self) -> Answer:
        return best_complete(self.board)
