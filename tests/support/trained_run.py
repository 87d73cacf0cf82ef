"""Finished runs with real models, trained by the fold loop without Ray."""

from functools import partial
from pathlib import Path
from typing import Any

from search.commands.launch_record import record_launch
from search.messages import Entrant, Job, Report
from search.policies.registry import policy_of
from search.runs.journal import Journal
from search.runs.run_folder import FOLDS, Run
from search.runs.study import Study
from spaces.load import load_space
from trainable.data.folds import folds_of, save_folds
from trainable.data.labelled import label_facts
from trainable.images.fold import segment_fold
from trainable.training.fold import train_fold
from trainable.training.labels import open_validation


def train_run(home: Path, text: str, data: Any, cache: Path) -> Run:
    """Write the space file and run it to its end."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "space_file.yaml").write_text(text.format(data=data.split.root.parent))
    space = load_space(str(home / "space_file.yaml"), [])
    settings = space.settings
    run = Run(home / settings.name)
    folds = folds_of(data, settings.folds, settings.fold_seed)
    validation = open_validation(data, settings.validation, cache)
    with Journal(run.journal) as journal:
        record_launch(run, space, data.hash, label_facts(data), folds=folds)
        save_folds(folds, run.folder / FOLDS)
        study = Study(policy_of(space), journal)
        study.begin(host="here", pid=1)
        points = {point.id: point for point in space.configs()}
        for point in points.values():
            run.record_config(point)
            study.add(Entrant(point.id, tuple(point.config.report_steps(point.config.steps)), dict(point.values)))
        metric = settings.metric.name
        trial = segment_fold if settings.trainable == "image" else partial(train_fold, validation=validation)
        while isinstance(job := study.next(), Job):
            folder = run.folder / "configs" / job.config / f"fold_{job.fold}"
            config = points[job.config].config
            for report in trial(config, data, folds, job.fold, folder, metric=metric):
                study.report(Report(job.config, job.fold, report.step, report.scores[metric], report.seconds))
        journal.append("end", reason="every job is done")
    return run
