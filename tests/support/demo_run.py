"""Journal lines of a simulated run: a policy driven by three workers of a simulated cluster."""

import itertools
import math
import random

from search.messages import Entrant, Job, Report, Stop
from search.policies.registry import SCHEDULERS
from search.runs.journal import Line

FOLDS, HORIZON, PACE = 3, 4, 30.0
START = 1_800_000_000.0
LOSSES, LEVELS, SIZES = ("iou", "dice"), ("low", "medium", "high"), (6, 8, 12)
ENTRANTS = [
    Entrant(f"{number:02x}c0ffee{number:04x}", (1, 2, 3, 4), {"loss": loss, "augmentation": level, "batch_size": size})
    for number, (loss, level, size) in enumerate(itertools.product(LOSSES, LEVELS, SIZES), 17)
]


def policy(scheduler="asha", **more):
    return SCHEDULERS[scheduler]([], FOLDS, **more)


def score(entrant, fold, step):
    level = (
        0.86
        - 0.01 * LEVELS.index(entrant.parameters["augmentation"])
        - 0.002 * SIZES.index(entrant.parameters["batch_size"])
    )
    noise = random.Random(f"{entrant.config} {fold}").gauss(0, 0.003)
    return round((level + 0.015 * fold + noise) * (1 - math.exp(-1.5 * step)), 4)


def lines(scheduler="asha", entrants=ENTRANTS, workers=3, seed=1, faults=True, **more):
    """All lines of the run; one fold crashes once, another runs out of memory each time."""
    rng, driver = random.Random(seed), policy(scheduler, **more)
    numbers, at, written = itertools.count(1), START, []

    def line(kind, **fields):
        written.append(Line(next(numbers), kind, fields, at))

    def report(cell, step, value, seconds):
        verdict = driver.report(Report(*cell, step, value, seconds))
        stop = {"stop": verdict.reason} if isinstance(verdict, Stop) else {}
        line("report", config=cell[0], fold=cell[1], step=step, score=value, seconds=seconds, **stop)
        return bool(stop)

    line("begin", host="node1", pid=7)
    for entrant in entrants:
        driver.add(entrant)
        line("config", config=entrant.config, steps=list(entrant.steps), parameters=dict(entrant.parameters))
    by_config = {entrant.config: entrant for entrant in entrants}
    reached, running = {}, []
    while True:
        while len(running) < workers and isinstance(job := driver.next(), Job):
            running.append((job.config, job.fold))
            line("job", config=job.config, fold=job.fold, until=job.until)
        if not running:
            break
        cell = running.pop(rng.randrange(len(running)))
        at = round(at + PACE / workers, 3)
        index = list(by_config).index(cell[0])
        if faults and index == 3 and cell[1] == 0 and cell not in reached:
            line("fault", config=cell[0], fold=cell[1], fault="RuntimeError: CUDA error: an illegal access")
        if faults and index == 5 and cell[1] == 0:
            line("fault", config=cell[0], fold=cell[1], fault="out_of_memory: needs 31 GB of 24")
            report(cell, HORIZON, math.nan, 0.0)
            continue
        reached[cell] = step = reached.get(cell, 0) + 1
        if not report(cell, step, score(by_config[cell[0]], cell[1], step), PACE * step):
            running.append(cell)
    line("end", reason="every job is done")
    return written
