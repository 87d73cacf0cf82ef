"""What a run has spent, what it has saved against the full grid, and what is still to come: GPU-seconds.

All of it follows from what was measured: a config's seconds per step, or, before it has trained, those of all.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from search.policies.contract import Policy
from search.runs.status import Status


@dataclass(frozen=True)
class CostEstimate:
    """``least`` is what the jobs need that are out or could be; ``most``, all folds of all that may still win."""

    spent: float
    saved: float
    least: float
    most: float
    share: float = 1.0  # of a GPU that a fold trial had, on average

    @property
    def grid(self) -> float:
        """What everything would have cost, as far as it is known."""
        return self.spent + self.saved + self.most


def estimate_cost(status: Status) -> CostEstimate | None:
    """None before the first report, when no step has been timed."""
    policy, score_table = status.policy, status.score_table
    steps: dict[str, int] = defaultdict(int)
    seconds: dict[str, float] = defaultdict(float)
    running, clock = set(), 0.0
    for (config, _), trial in status.trials.items():
        if trial.state == "running":
            running.add(config)
        if trial.state != "failed":  # a failed fold is told at a step that it never reached
            steps[config] += trial.step
            seconds[config] += trial.gpu_seconds
            clock += trial.seconds
    if not sum(steps.values()) or not sum(seconds.values()):
        return None
    usual = sum(seconds.values()) / sum(steps.values())
    pace = {config: seconds[config] / steps[config] for config in steps if steps[config]}
    jobs = [] if score_table.exhausted else [*score_table.outstanding.values(), *policy.eligible()]
    least = sum((job.until - _reached(status, job.config, job.fold)) * pace.get(job.config, usual) for job in jobs)
    most = saved = 0.0
    for entrant in score_table.alive():
        config = entrant.config
        rest = (score_table.folds * entrant.horizon - steps[config]) * pace.get(config, usual)
        if jobs and (config in running or _may_win(policy, config)):
            most += rest
        elif not score_table.exhausted or not _may_win(policy, config):
            saved += rest
    if score_table.budget is not None:
        left = max(0.0, score_table.budget - score_table.spent)
        least, most = min(least, left), min(most, left)
    return CostEstimate(score_table.spent, saved, min(least, most), most, sum(seconds.values()) / clock)


def _reached(status: Status, config: str, fold: int) -> int:
    trial = status.trials.get((config, fold))
    return 0 if trial is None else trial.step


def _may_win(policy: Policy, config: str) -> bool:
    return policy.why(config) is None
