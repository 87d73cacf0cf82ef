"""Runs with samplers but without Ray or training: workers report scores of a function, and drivers can die."""

import math
import random

from driver_death import die_after
from study_files import open_study

from search.messages import Finished, Job, Report, Stop
from search.policies.registry import policy_of
from search.runs.journal import Journal, read_journal
from search.runs.study import replay_lines
from search.samplers.growing_study import GrowingStudy
from search.samplers.optuna_adapter import OptunaProposals, stored_study
from search.samplers.proposals import ListProposals, RandomProposals
from spaces.load import make_space
from spaces.schema.samplers import GridSampler, OptunaSampler

QUALITY = {"quality": {"min": 0.5, "max": 0.9}, "steps": 4, "evaluations": 4}
SAMPLERS = ["tpe", "gp", "cmaes"]


def space(parameters=QUALITY, sampler="tpe", scheduler="foldrace", **more):
    tree = {"name": "demo", "trainable": "scripted", "folds": 3, "parameters": parameters, **more}
    return make_space(tree | {"sampler": sampler, "scheduler": scheduler})


def peak(values):
    """A smooth function of every searched number, with its maximum at 0.8."""
    numbers = [value for value in values.values() if isinstance(value, float)]
    return 0.85 - 0.5 * sum((value - 0.8) ** 2 for value in numbers)


class Run:
    """A run folder and its workers; trained steps survive the driver, as checkpoints do."""

    def __init__(self, folder, space, score=peak, workers=2, shown=True):
        self.folder, self.space, self.score, self.workers, self.shown = folder, space, score, workers, shown
        self.trained = {}

    def report(self, config, fold, step):
        values = self.policy.score_table.entrants[config].parameters
        noise = random.Random(f"{config} {fold}").gauss(0, 0.002)
        score = self.score(values) + noise + 0.02 * fold - 0.3 / step
        return Report(config, fold, step, self.policy.score_table.shown(score), 2.0 * step)

    def drive(self, records=math.inf, jobs=math.inf):
        """Start or resume the run until its end, or die before a given record is written."""
        self.policy = policy_of(self.space)
        replay_lines(self.policy, read_journal(self.folder / "journal.jsonl"))
        sampler, self.stored = self.space.settings.sampler, None
        if isinstance(sampler, OptunaSampler):
            proposals = OptunaProposals(self.space, sampler)
            if self.shown:
                self.stored = stored_study(proposals, self.folder, self.policy)
        elif isinstance(sampler, GridSampler):
            proposals = ListProposals(self.space.configs())
        else:
            proposals = RandomProposals(self.space, sampler.seed, sampler.count)
        with Journal(self.folder / "journal.jsonl") as journal:
            die_after(journal, records)
            self.study = GrowingStudy(self.policy, journal, proposals, lambda point: self.update())
            self.study.begin()
            return self._work(jobs)

    def _work(self, jobs):
        running = []
        while True:
            while len(running) < self.workers and jobs > 0:
                answer = self.study.next()
                if not isinstance(answer, Job):
                    break
                jobs -= 1
                running.append(answer)
            if not running:
                if self.stored:
                    self.stored.write()
                assert jobs <= 0 or isinstance(answer, Finished)
                return None if jobs <= 0 else answer.reason
            job = running.pop(0)
            at = self.trained.get((job.config, job.fold), 0)
            for step in range(max(1, at), job.until + 1):  # repeats the last report first, as folds do
                self.trained[job.config, job.fold] = step
                verdict = self.study.report(self.report(job.config, job.fold, step))
                self.update()
                if isinstance(verdict, Stop):
                    break

    def update(self):
        if self.stored:
            self.stored.note()

    def configs(self):
        lines = read_journal(self.folder / "journal.jsonl")
        return [line.fields["parameters"] for line in lines if line.kind == "config"]

    def loaded(self):
        return open_study(self.folder / "optuna.db")


def tpe(count=None, **more):
    return {"name": "tpe", "seed": 0} | ({"count": count} if count else {}) | more
