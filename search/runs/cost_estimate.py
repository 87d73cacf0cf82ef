"""The GPU-seconds that a run has spent, has saved compared to the full grid, and still needs.

Remaining steps are assumed to take as long as the config's earlier steps, or as the average step before it has trained.
"""

from collections import defaultdict
from dataclasses import dataclass

from search.policies.contract import Policy
from search.runs.status import Status


@dataclass(frozen=True)
class CostEstimate:
    """The remaining cost is between ``least``, for outstanding and eligible jobs, and ``most``, for all remaining folds
    of the configs that may still win.
    """

    spent: float
    saved: float
    least: float
    most: float
    share: float = 1.0  # the average share of a GPU that a fold trial uses

    @property
    def grid(self) -> float:
        """The estimated cost of the full grid."""
        return self.spent + self.saved + self.most


def estimate_cost(status: Status) -> CostEstimate | None:
    """None before the first report, when no step has been timed."""
    policy, table = status.policy, status.score_table
    steps: dict[str, int] = defaultdict(int)
    seconds: dict[str, float] = defaultdict(float)
    running, elapsed = set(), 0.0
    for (config, _), trial in status.trials.items():
        if trial.state == "running":
            running.add(config)
        if trial.state != "failed":  # a failed fold reports its horizon, which it never reached
            steps[config] += trial.step
            seconds[config] += trial.gpu_seconds
            elapsed += trial.seconds
    if not sum(steps.values()) or not sum(seconds.values()):
        return None
    average = sum(seconds.values()) / sum(steps.values())
    step_seconds = {config: seconds[config] / steps[config] for config in steps if steps[config]}
    jobs = [] if table.exhausted else [*table.outstanding.values(), *policy.eligible()]
    least = sum(
        (job.until - _reached(status, job.config, job.fold)) * step_seconds.get(job.config, average) for job in jobs
    )
    most = saved = 0.0
    for entrant in table.alive():
        config = entrant.config
        rest = (table.folds * entrant.horizon - steps[config]) * step_seconds.get(config, average)
        if jobs and (config in running or _may_win(policy, config)):
            most += rest
        elif not table.exhausted or not _may_win(policy, config):
            saved += rest
    if table.budget is not None:
        left = max(0.0, table.budget - table.spent)
        least, most = min(least, left), min(most, left)
    return CostEstimate(table.spent, saved, min(least, most), most, sum(seconds.values()) / elapsed)


def _reached(status: Status, config: str, fold: int) -> int:
    trial = status.trials.get((config, fold))
    return 0 if trial is None else trial.step


def _may_win(policy: Policy, config: str) -> bool:
    return policy.why(config) is None
