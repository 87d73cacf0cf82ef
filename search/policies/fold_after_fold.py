"""How Optuna's trials come: a config trains fold after fold, and between two folds a pruner may end it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from search.messages import Answer, Job, Report
from search.policies.contract import Policy
from search.race.answer import best_complete


class FoldAfterFold(Policy):
    """The configs in their order, one fold at a time each; a baseline of this kind says who is pruned."""

    @abstractmethod
    def pruner(self) -> Callable[[list[float]], bool]:
        """Whether a config with these scores, of its folds so far, would be pruned as things stand."""

    def choose(self) -> Job | None:
        busy, pruned = {config for config, _ in self.score_table.outstanding}, self.pruner()
        for entrant in self.score_table.alive():
            folds = [] if entrant.config in busy else self.score_table.open_folds(entrant.config)
            if folds and not pruned(self.score_table.scores(entrant.config)):
                return Job(entrant.config, folds[0], entrant.horizon)
        return None

    def judge(self, report: Report) -> str | None:
        return None

    def answer(self) -> Answer:
        return best_complete(self.score_table)

    def complete(self) -> list[list[float]]:
        """The scores of every config that has all folds, in the order of the configs."""
        return [
            self.score_table.scores(entrant.config)
            for entrant in self.score_table.alive()
            if self.score_table.complete(entrant.config)
        ]
