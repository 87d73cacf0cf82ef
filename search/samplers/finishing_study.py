"""A study that trains what one config lacks, because a person chose it, whatever the policy thinks of it."""

from search.messages import Finished, Job, Wait
from search.policies.contract import Policy
from search.runs.fold_models import FoldModels, describe_jobs
from search.runs.journal import Journal
from search.runs.study import Study
from trainable.errors import UserError, did_you_mean
from trainable.printing import plural, say


class FinishingStudy(Study):
    """Hands out the folds that the config has not trained to their end, and those whose models are lost.

    ``config`` may be the start of an id. The journal keeps the choice, so the weights of the config stay for good. It
    does not ask for the budget, because a person asked for this.
    """

    def __init__(self, policy: Policy, journal: Journal, config: str, models: FoldModels) -> None:
        super().__init__(policy, journal)
        self.config = _one_config(policy, config, models)
        self.models = models

    def choose(self) -> Finished | None:
        """Record the choice and collect its jobs; the end of the study if there are none."""
        if self.config not in self.models.chosen:
            self.journal.append("finish", config=self.config)
            self.models.chosen.add(self.config)
        table = self.policy.score_table
        horizon = table.entrants[self.config].horizon
        lost = self.models.lost([self.config])
        self._queue = [Job(self.config, fold, horizon) for fold in table.open_folds(self.config)] + lost
        if not self._queue:
            return self._done()
        again = f", {plural(len(lost), 'fold model')} of them lost or removed before" if lost else ""
        say(f"finishing {describe_jobs(sorted(self._queue, key=lambda job: job.fold))}{again}")
        return None

    @property
    def exhausted(self) -> bool:
        return False

    def next(self) -> Job | Wait | Finished:
        if self._queue:
            return self.complete(self._queue.pop(0))
        return Wait() if self.policy.score_table.outstanding else self._done()

    def peek(self) -> Job | None:
        return self._queue[0] if self._queue else None

    def _done(self) -> Finished:
        if self.config in self.policy.score_table.failed:
            return Finished(f"config {self.config} failed")
        return Finished(f"config {self.config} has all its folds and their models")


def _one_config(policy: Policy, name: str, models: FoldModels) -> str:
    table = policy.score_table
    found = [config for config in table.entrants if config.startswith(name)]
    if len(found) != 1:
        hint = did_you_mean(name, table.entrants) if not found else ""
        raise UserError(f"--config {name}: {len(found) or 'no'} configs of {models.run.address} start with it.{hint}")
    if found[0] in table.failed:
        raise UserError(f"config {found[0]}: failed in fold {table.failed[found[0]][1]}, so it cannot be finished")
    return found[0]
