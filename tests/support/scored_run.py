"""Runs that consist of a journal only: scripted configs with scores given by the test."""

import math
from pathlib import Path

from search.commands.launch_record import record_launch
from search.runs.journal import Journal
from search.runs.run_folder import Run
from spaces.load import make_space

STEPS = (1, 2)
NAN = math.nan


def scored_run(home: Path, parameters, scores, ended=True, folds=3):
    """``scores`` has, for each config of the grid, the scores of its folds and the seconds of a fold.

    A number is a score at full length, a tuple of a number one at half length, None a fold that did not start, and NaN
    a fold that failed.
    """
    constants = {"steps": STEPS[-1], "evaluations": len(STEPS)}
    tree = {"name": "scored", "trainable": "scripted", "folds": folds, "scheduler": "grid", "sampler": "grid"}
    space = make_space({**tree, "parameters": {**constants, **parameters}})
    run = Run(home / "scored")
    with Journal(run.journal, clock=lambda: 1_800_000_000.0) as journal:
        record_launch(run, space, None)
        journal.append("begin", host="here", pid=1)
        points = space.configs()
        for point in points:
            run.record_config(point)
            journal.append("config", config=point.id, steps=list(STEPS), parameters=dict(point.values))
        for point, (row, seconds) in zip(points, scores, strict=True):
            for fold, score in enumerate(row):
                if score is not None:
                    _fold(journal, point.id, fold, score, seconds)
        if ended:
            journal.append("end", reason="every job is done")
    return run, [point.id for point in points]


def _fold(journal, config, fold, score, seconds):
    journal.append("job", config=config, fold=fold, until=STEPS[-1])
    half = isinstance(score, tuple)
    value = score[0] if half else score
    failed = math.isnan(value)
    if not failed:
        stop = {"stop": "paused: too far behind"} if half else {}
        early = {"config": config, "fold": fold, "step": 1, "score": value if half else value - 0.1}
        journal.append("report", **early, seconds=seconds / 2, **stop)
    if not half:
        stop = "failed: a score is not a number" if failed else "complete"
        journal.append("report", config=config, fold=fold, step=2, score=value, seconds=seconds, stop=stop)
