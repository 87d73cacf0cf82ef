"""Trials as Optuna sees them: a config trains fold after fold, and a pruner may end it between two folds."""

from abc import abstractmethod
from collections.abc import Callable

from search.messages import Answer, Job, Report
from search.policies.contract import Policy
from search.race.answer import best_complete


class FoldByFold(Policy):
    """Trains the configs in order, one fold of each at a time; subclasses decide which configs are pruned."""

    @abstractmethod
    def pruner(self) -> Callable[[list[float]], bool]:
        """Return a function that tells from the fold scores of a config so far whether it is pruned now."""

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
        """The scores of every complete config, in the order of the configs."""
        return [
            self.score_table.scores(entrant.config)
            for entrant in self.score_table.alive()
            if self.score_table.complete(entrant.config)
        ]
