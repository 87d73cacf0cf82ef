"""A study that adds configs while it runs: whenever a worker is free and no existing config should train first."""

from collections.abc import Callable

from search.messages import Finished, Job, Wait
from search.policies.contract import Policy
from search.runs.journal import Journal
from search.runs.study import Study, entrant_of
from search.samplers.proposals import Proposals
from spaces.space import Point

REPEATS = 100  # repeated proposals in a row after which a sampler is taken to be exhausted


class GrowingStudy(Study):
    """Requests a config only when it can start at once, so that each proposal is based on all earlier reports.

    ``on_new_config`` is called for every new config, after the journal has it and before any job of it.
    """

    def __init__(
        self, policy: Policy, journal: Journal, proposals: Proposals, on_new_config: Callable[[Point], None]
    ) -> None:
        super().__init__(policy, journal)
        self.proposals, self.on_new_config = proposals, on_new_config
        self.exhausted_reason = ""

    def next(self) -> Job | Wait | Finished:
        self.add_proposals()
        action = super().next()
        if isinstance(action, Finished) and self.exhausted_reason and not self.policy.score_table.exhausted:
            return Finished(f"{action.reason}, and {self.exhausted_reason}")
        return action

    def look_ahead(self, workers: int) -> int:
        """Few, if a sampler would have to propose a config for each without knowing the scores of the others."""
        return super().look_ahead(workers) if self.proposals.ignores_scores else 2 * workers

    def add_proposals(self) -> None:
        """Add configs for as long as the policy needs new ones."""
        known, repeats = self.policy.score_table.entrants, 0
        while self.wants_config:
            point = self.proposals.propose(self.policy)
            if point is None:
                self.exhausted_reason = f"the space has no configs other than these {len(known)}"
            elif point.id not in known:
                self.add(entrant_of(point))
                self.on_new_config(point)
                repeats = 0
            elif (repeats := repeats + 1) == REPEATS:
                self.exhausted_reason = f"the sampler proposed only known configs, {REPEATS} times in a row"

    @property
    def wants_config(self) -> bool:
        table, count = self.policy.score_table, self.proposals.count
        if self.exhausted_reason or table.exhausted or (count is not None and len(table.entrants) >= count):
            return False
        if self.proposals.ignores_scores and count is not None:
            return True
        job = self.policy.choose()
        if job is None:
            return True
        if not self.policy.screens_first or self._is_screening(job):
            return False
        # Without a count, new configs would be added forever: the race gets as much time as screening.
        screening = sum(table.gpu_seconds(config, 0) for config in table.entrants)
        return count is not None or 2 * screening <= table.spent

    def _is_screening(self, job: Job) -> bool:
        entrant = self.policy.score_table.entrants[job.config]
        first = entrant.step_at(self.policy.rungs[0]) if self.policy.rungs else entrant.horizon
        return job.fold == 0 and job.until <= first
