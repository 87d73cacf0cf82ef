"""Random worlds that drive any policy to its end, for tests of the contract of policies."""

import math
import random
from dataclasses import dataclass, field, replace

from search.messages import Continue, Entrant, Finished, Job, Report, Stop, Wait


@dataclass
class World:
    """Random configs and workers; scores depend only on (config, fold, step), and a share ``broken`` of them is NaN.

    A share ``early`` of the fold trials ends before its horizon. In a ``mirrored`` world lower scores are better.
    """

    seed: int
    broken: float = 0.0
    early: float = 0.0
    mirrored: bool = False
    shift: dict = field(default_factory=dict)

    def __post_init__(self):
        rng = random.Random(self.seed)
        self.folds = rng.randint(1, 4)
        horizons = rng.choice([[(1, 2, 3, 4)], [(1, 2, 3, 4), (2, 4, 6, 8)], [tuple(range(1, 41))], [(5,)]])
        self.entrants = [
            Entrant(f"c{i}", rng.choice(horizons), {"loss": rng.choice(["iou", "dice"])})
            for i in range(rng.randint(1, 9))
        ]
        self.workers = rng.randint(1, 5)

    def next_report(self, config, fold, steps, trained):
        """The report after the step ``trained``; if the fold trial ends there early, it is one at the horizon."""
        step = next(step for step in steps if step > trained)
        rng = random.Random(f"{self.seed} end of {config} {fold}")
        ends = rng.random() < self.early and step == rng.choice(steps)
        report = self.report(config, fold, step)
        return replace(report, step=steps[-1]) if ends else report

    def report(self, config, fold, step):
        rng = random.Random(f"{self.seed} {config} {fold} {step}")
        level = random.Random(f"{self.seed} {config}").gauss(0.8, 0.01)
        score = level + rng.gauss(0, 0.01) + self.shift.get((fold, step), 0.0)
        score = -score if self.mirrored else score
        return Report(config, fold, step, math.nan if rng.random() < self.broken else score, 2.5 * step)


def drive(policy, world, chaos=0, losses=0.0, limit=4000):
    """Drive a policy to its end and return its jobs and (report, verdict) pairs in order.

    ``losses`` is the share of jobs that are lost with their worker; ``chaos`` seeds the order of events.
    """
    rng, log, trained = random.Random(chaos), [], {}
    steps = {entrant.config: entrant.steps for entrant in world.entrants}
    running = []
    for _ in range(limit):
        answer = policy.next() if len(running) < world.workers else None
        if isinstance(answer, Job):
            cell = (answer.config, answer.fold)
            assert cell not in [(job.config, job.fold) for job in running], "the fold trial is already running"
            assert answer.until in steps[answer.config] and answer.until > trained.get(cell, 0), "nothing to train"
            running.append(answer)
            log.append(answer)
            continue
        if isinstance(answer, Finished):
            assert answer.reason and not running, "finished while jobs are running"
            return log
        assert running or not isinstance(answer, Wait), "waits although no job is running"
        job = rng.choice(running)
        if rng.random() < losses:
            running.remove(job)
            policy.lost(job)
            continue
        cell = (job.config, job.fold)
        report = world.next_report(*cell, steps[job.config], trained.get(cell, 0))
        trained[cell] = report.step
        verdict = policy.report(report)
        log.append((report, verdict))
        if isinstance(verdict, Stop):
            assert verdict.reason, "a stop without a reason"
            running.remove(job)
        else:
            assert isinstance(verdict, Continue) and report.step < job.until, "continues beyond its job"
    raise AssertionError("the policy does not end")


def records(log):
    """The jobs and reports of a log, without verdicts."""
    return [entry[0] if isinstance(entry, tuple) else entry for entry in log]


def state(policy):
    """The visible state of a policy after all its jobs were returned: its next jobs and its answer."""
    for job in list(policy.score_table.outstanding.values()):
        policy.lost(job)
    jobs = []
    while isinstance(answer := policy.next(), Job):
        jobs.append(answer)
    for job in jobs:
        policy.lost(job)
    return jobs, policy.answer()
