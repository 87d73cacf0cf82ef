"""Run folders without training: a policy driven to its end with scores that are a function of the parameters."""

import math
import random

from search.commands.launch_record import record_launch
from search.messages import Entrant, Job, Report, Stop
from search.policies.registry import policy_of
from search.runs.run_folder import Run
from search.samplers.proposals import random_points
from spaces.load import load_space
from trainable.storage.checked_json import text_of

GRID = """
name: {name}
data: data/nowhere
folds: {folds}
parameters:
  encoder: efficientnet-b2
  loss: {{values: [iou, dice]}}
  augmentation: {{values: [low, medium, high]}}
  batch_size: {{values: [6, 8, 12]}}
  pc: {{values: [1, 2, 3, 3.8]}}
scheduler: {scheduler}
"""
RANGES = """
name: {name}
data: data/nowhere
folds: 3
parameters:
  learning_rate: {{min: 5e-4, max: 2e-2, distribution: log_uniform}}
  weight_decay: {{min: 1e-6, max: 1e-2, distribution: log_uniform}}
  dropout: {{min: 0, max: 0.5}}
  loss: {{values: [iou, dice]}}
sampler: {{name: random, count: 30, seed: 1}}
scheduler: {scheduler}
"""
ONE = """
name: {name}
data: data/nowhere
folds: 3
parameters: {{loss: iou}}
scheduler: {scheduler}
"""
CONDITIONAL = """
name: {name}
data: data/nowhere
folds: {folds}
parameters:
  loss: {{values: [iou, dice]}}
  attention: {{values: [null, scse]}}
  learning_rate: {{min: 1e-4, max: 1e-2, distribution: log_uniform, when: {{loss: [iou]}}}}
sampler: {{name: random, count: 24, seed: 1}}
scheduler: {scheduler}
"""
LOWER_IS_BETTER = GRID.replace("data: data/nowhere", "trainable: scripted\nmetric: {{name: loss, goal: minimize}}")
LOWER_IS_BETTER += "references: [{{source: A text, scores: {{loss: -0.8}}}}]\n"
START = 1_800_000_000.0


def quality(values, rng):
    """Main effects, one interaction, and noise per config."""
    level = 0.80 + {"iou": 0.008, "dice": 0.0}.get(values.get("loss"), 0.0)
    level += {"low": 0.0, "medium": 0.007, "high": 0.012}.get(values.get("augmentation"), 0.0)
    level += 0.004 * math.log(values.get("batch_size", 8) / 8) - 0.004 * (values.get("pc", 3.0) - 2.6) ** 2
    level -= 0.004 * (values.get("loss") == "dice" and values.get("augmentation") == "high")
    level -= 0.02 * math.log10(values.get("learning_rate", 5e-3) / 5e-3) ** 2
    return level + rng.gauss(0, 0.003)


def write_run(folder, text, *, scheduler="foldrace", folds=5, steps=(3000, 6000, 9000, 12000), until=None, fails=()):
    """Write a run folder with a journal that ends after ``until`` records.

    The first fold of the configs whose indices are in ``fails`` gives NaN.
    """
    folder.mkdir(parents=True)
    (folder / "space_file.yaml").write_text(text.format(name=folder.name, folds=folds, scheduler=scheduler))
    space = load_space(str(folder / "space_file.yaml"), [])
    run = Run(folder)
    record_launch(run, space, "0" * 64)
    points = space.configs() if space.enumerable else random_points(space, space.settings.sampler.count, 1)
    for point in points:
        run.record_config(point)
    records = list(_records(space, points, steps, set(fails)))[:until]
    run.journal.write_text(text_of(records))
    return run


def _records(space, points, steps, fails):
    policy, rng, at = policy_of(space), random.Random(0), START
    sign = -1 if space.settings.metric.goal == "minimize" else 1
    yield {"at": at, "kind": "begin", "host": "node1", "pid": 7}
    quality_of = {point.id: quality(point.values, rng) for point in points}
    for point in points:
        policy.add(Entrant(point.id, tuple(steps), dict(point.values)))
        yield {"at": at, "kind": "config", "config": point.id, "steps": list(steps), "parameters": dict(point.values)}
    failing = {point.id for index, point in enumerate(points) if index in fails}
    reached = {}
    while isinstance(job := policy.next(), Job):
        yield {"at": at, "kind": "job", "config": job.config, "fold": job.fold, "until": job.until}
        cell, noise = (job.config, job.fold), random.Random(f"{job.config} {job.fold}").gauss(0, 0.006)
        for step in steps:
            if step <= reached.get(cell, 0):
                continue
            at, reached[cell] = at + 0.3 * (step - reached.get(cell, 0)), step
            score = (quality_of[job.config] + 0.01 * (job.fold - 2) + noise) * (1 - math.exp(-5 * step / steps[-1]))
            score = math.nan if job.config in failing else sign * (score + rng.gauss(0, 0.0005))
            verdict = policy.report(Report(*cell, step, score, 0.3 * step))
            stop = {"stop": verdict.reason} if isinstance(verdict, Stop) else {}
            report = {"config": job.config, "fold": job.fold, "step": step, "score": score, "seconds": 0.3 * step}
            yield {"at": at, "kind": "report", **report, **stop}
            if stop:
                break
    yield {"at": at, "kind": "end", "reason": "every job is done"}
