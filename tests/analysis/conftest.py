"""A run with real models: two tiny configs on three folds of the small data set, without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SPACE = """
name: small
data: {data}
folds: 3
parameters:
  learning_rate: {{values: [1e-3, 1e-2]}}
  encoder: mobilenetv3_small_050
  attention: none
  batch_size: 4
  steps: 2
  evaluations: 1
scheduler: grid
"""


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, small_folder: Path, small_data: Any) -> Any:
    """Finished by the fold loop itself and written down as a launch would."""
    from search.messages import Entrant, Job, Report
    from search.policies.registry import policy_of
    from search.runs.journal import Journal
    from search.runs.run_folder import FOLDS, Run, note_launch
    from search.runs.study import Study
    from spaces.load import load_space
    from trainable.data.folds import folds_of, save_folds
    from trainable.training.fold import train_fold

    home = tmp_path_factory.mktemp("runs")
    (home / "small.yaml").write_text(SPACE.format(data=small_folder))
    space = load_space(str(home / "small.yaml"), [])
    run = Run(home / "small")
    folds = folds_of(small_data, space.settings.folds, space.settings.fold_seed)
    with Journal(run.journal) as journal:
        note_launch(run, space, small_data.hash)
        save_folds(folds, run.folder / FOLDS)
        study = Study(policy_of(space), journal)
        study.begin(host="here", pid=1)
        points = {point.id: point for point in space.configs()}
        for point in points.values():
            run.note_config(point)
            study.add(Entrant(point.id, tuple(point.config.report_steps(point.config.steps)), dict(point.values)))
        while isinstance(job := study.next(), Job):
            folder = run.folder / "configs" / job.config / f"fold_{job.fold}"
            for report in train_fold(points[job.config].config, small_data, folds, job.fold, folder):
                study.report(Report(job.config, job.fold, report.step, report.scores["miou"], report.seconds))
        journal.append("end", reason="every job is done")
    return run
