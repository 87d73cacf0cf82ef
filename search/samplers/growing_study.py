"""A study that lets configs in while it runs: when a worker is free and nothing that is there should come first."""

from __future__ import annotations

from collections.abc import Callable

from search.messages import Finished, Job, Wait
from search.policies.contract import Policy
from search.runs.journal import Journal
from search.runs.study import Study, entrant_of
from search.samplers.proposals import Proposals
from spaces.space import Point

REPEATS = 100  # known configs in a row, before a sampler is taken to have nothing else


class GrowingStudy(Study):
    """Asks for a config only when it can start at once, so that each proposal has seen all that came before.

    ``admit`` hears of every new config after the journal has it and before it can be handed out.
    """

    def __init__(self, policy: Policy, journal: Journal, proposals: Proposals, admit: Callable[[Point], None]) -> None:
        super().__init__(policy, journal)
        self.proposals, self.admit = proposals, admit
        self.dry = ""  # why nothing more is proposed

    def next(self) -> Job | Wait | Finished:
        self.add_proposals()
        said = super().next()
        if isinstance(said, Finished) and self.dry and not self.policy.score_table.exhausted:
            return Finished(f"{said.reason}, and {self.dry}")
        return said

    def add_proposals(self) -> None:
        """Let in the configs whose time has come."""
        known, repeats = self.policy.score_table.entrants, 0
        while self._wanted():
            point = self.proposals.propose(self.policy)
            if point is None:
                self.dry = f"the space has no config beyond these {len(known)}"
            elif point.id not in known:
                self.add(entrant_of(point))
                self.admit(point)
                repeats = 0
            elif (repeats := repeats + 1) == REPEATS:
                self.dry = f"the sampler proposed only configs that are known, {REPEATS} times in a row"

    def _wanted(self) -> bool:
        score_table, count = self.policy.score_table, self.proposals.count
        if self.dry or score_table.exhausted or (count is not None and len(score_table.entrants) >= count):
            return False
        if self.proposals.ignores_scores and count is not None:
            return True
        job = self.policy.choose()
        if job is None:
            return True
        if not self.policy.screens_first or self._screens(job):
            return False
        # Without a count new configs would come for ever: the race gets as much time as the first folds.
        first = sum(score_table.gpu_seconds(config, 0) for config in score_table.entrants)
        return count is not None or 2 * first <= score_table.spent

    def _screens(self, job: Job) -> bool:
        """Whether this is the first that a policy wants to know of a config."""
        entrant = self.policy.score_table.entrants[job.config]
        first = entrant.step_at(self.policy.rungs[0]) if self.policy.rungs else entrant.horizon
        return job.fold == 0 and job.until <= first
