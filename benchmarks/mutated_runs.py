"""Finished runs to mutate: of scripts, of networks and of methods on a tiny data set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.ensembles.assemble import FOLDER, assemble
from analysis.ensembles.refinement_file import keep
from search.commands.launch_record import record_launch
from search.planning.plan import PlanOptions
from search.planning.plan_output import keep_first, show_first
from search.runs.journal import Journal
from search.runs.run_folder import Run
from search.runs.study import entrant_of
from spaces.load import make_space
from tests.support.small_spaces import IMAGE_SPACE, SMALL_SPACE
from tests.support.trained_run import train_run
from trainable.data.decoded_images import open_data
from trainable.data.image_files import open_files
from trainable.data.synthetic.synthesize import synthesize
from trainable.scripted import Script, run_script

SCRIPTED_SPACE = {
    "name": "scripted",
    "trainable": "scripted",
    "folds": 2,
    "scheduler": "grid",
    "parameters": {"quality": {"values": [0.7, 0.8]}, "noise": 0.01, "steps": 4, "evaluations": 2},
}


def scripted_run(home: Path) -> Run:
    """A finished run of two scripted configs, without training."""
    space = make_space(SCRIPTED_SPACE)
    run = Run(home / space.settings.name)
    with Journal(run.journal, clock=lambda: 1e9) as journal:
        record_launch(run, space, None)
        keep_first(run.folder, show_first(run.folder, space, PlanOptions(1.0)))
        journal.append("begin", host="here", pid=1)
        for point in space.configs():
            run.record_config(point)
            entrant = entrant_of(point)
            journal.append("config", config=point.id, steps=list(entrant.steps), parameters=dict(point.values))
            script = Script(**{name: value for name, value in point.config if name in Script.model_fields})
            for fold in range(space.settings.folds):
                journal.append("job", config=point.id, fold=fold, until=script.steps)
                folder = run.folder / "configs" / point.id / f"fold_{fold}"
                for report in run_script(script, fold, folder, script.steps):
                    values = {name: report[name] for name in ("step", "score", "seconds")}
                    journal.append("report", config=point.id, fold=fold, **values)
        journal.append("end", reason="every job is done")
    return run


def tiny_runs(home: Path) -> Iterator[tuple[Run, Any]]:
    """Each run with its data, the fastest to read first."""
    yield scripted_run(home), None
    synthesize(home / "data", images=20, test_images=3, width=96, height=80, seed=1)
    for text, data in (
        (SMALL_SPACE, open_data(home / "data", cache=home / "cache")),
        (IMAGE_SPACE, open_files(home / "data")),
    ):
        place = home / data.__class__.__name__
        place.mkdir()
        run = train_run(place, text, data, home / "cache")
        complete(run)
        yield run, data


def complete(run: Run) -> None:
    """Add what a launch and an analysis leave: a plan, a refinement and an ensemble."""
    keep_first(run.folder, show_first(run.folder, run.space(), PlanOptions(1.0, False)))
    config = run.space().configs()[0].id
    steps = [{"step": "threshold", "tau": 0.4}]
    keep(run, config, {"config": config, "classes": ["background", "foreground"], "steps": steps})
    assemble(run, [config], "none", run.folder / FOLDER)
