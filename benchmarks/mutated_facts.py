"""What the program says about the files of a run, which mutations of them must not change in silence.

Each reader gets the folder of a run and returns facts that can be compared, and what it reported about damage.
"""

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from analysis.answer.document import full_config
from analysis.ensembles.assemble import FOLDER, assemble
from analysis.ensembles.ensemble import load_ensemble, read_member
from analysis.ensembles.predict import _trained_on
from analysis.ensembles.refinement_file import read_refinement
from analysis.refinement.chain import as_rows
from search.commands import launch_record
from search.planning import plan_output
from search.runs.ledger import ledger
from search.runs.recovery import recover
from search.runs.run_folder import Run
from search.runs.run_tables import RunTables, read_run
from search.runs.status import status_of
from search.terminal.listing import document, rows
from spaces.load import load_space
from trainable.data.task import TWO_CLASSES
from trainable.images.fold import segment_fold
from trainable.images.results import stored_masks
from trainable.machine.versions import code_hashes
from trainable.scripted import Script, run_script
from trainable.storage.checked_json import read_lines
from trainable.training.fold import train_fold

CODE = functools.cache(code_hashes)  # which take long and do not change
Facts = tuple[Any, list[str]]
Reader = Callable[[Run], Facts]


@dataclass(frozen=True)
class Subject:
    """A file of a run and who reads it.

    ``recovers``: readers repeat work instead of refusing the file; ``slow``: they take long.
    """

    file: str
    readers: tuple[Reader, ...]
    recovers: bool = False
    slow: bool = False


def status(run: Run) -> Facts:
    now = status_of(run)
    lines = [[line.kind, line.at, dict(line.fields)] for line in run.lines()]
    return plain([lines, document(now), rows(now), ledger(run.lines()).totals()]), []


def tables(run: Run) -> Facts:
    found = read_run(run)
    frames = [each.to_dict("list") for each in (found.configs, found.trials, found.curves)]
    return plain([frames, found.metric, found.task.classes]), list(found.left_out)


def rebuilt(run: Run) -> Facts:
    """The scores after ``launch --recover``."""
    recover(run, run.space())
    curves = read_run(run).curves.drop(columns="seconds")
    return plain(curves.to_dict("list")), []


def launched(run: Run) -> Facts:
    """The launch of the run's own space file."""
    space = load_space(run.folder / "space.yaml")
    with patch.object(launch_record, "code_hashes", CODE):
        data_hash = run.folds().data_hash if (run.folder / "folds.json").exists() else None
        launch_record.check_run(space, run, data_hash, force_code=False)
    return plain([space.canonical(), run.space().canonical(), run.environment()]), []


def folds(run: Run) -> Facts:
    found = run.folds()
    return plain([found.count, found.seed, found.data_hash, dict(found.assignment)]), []


def plan(run: Run) -> Facts:
    """What a relaunch says about the plan, and what is in it."""
    said: list[str] = []
    with patch.object(plan_output, "say", said.append):
        found = plan_output.recorded_plan(run.folder)
    return plain(found), said


def configs(run: Run) -> Facts:
    found = read_run(run)
    return plain([full_config(found, config) for config in found.configs["config"]]), []


def relaunched_configs(run: Run) -> Facts:
    """The configs after a launch, which writes them anew if they are damaged."""
    run.record_config(run.space().configs()[0])
    return configs(run)


def images(run: Run) -> Facts:
    found: RunTables = read_run(run)
    names = list(found.configs["config"])
    return plain([found.images(names, weights).to_dict("list") for weights in ("best", "last")]), []


def manifest(run: Run) -> Facts:
    """That of a new ensemble of the first config, with the scores of its members."""
    _, made = assemble(run, [run.space().configs()[0].id], "none", run.folder / "new", refine=False)
    return plain(made), []


def weights(run: Run) -> Facts:
    """The model of the first fold."""
    state = read_member("first", 0, first_fold(run)).state
    hashes = {name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for name, tensor in state["weights"].items()}
    return plain([hashes, {name: value for name, value in state.items() if name != "weights"}]), []


def members(run: Run) -> Facts:
    """The training images of the stored ensemble, and its refinement."""
    config = run.space().configs()[0].id
    chain = read_refinement(run.folder / FOLDER, [config], TWO_CLASSES.classes)
    return plain([_trained_on(run.folder / FOLDER), as_rows(chain)]), []


def prediction(run: Run) -> Facts:
    """What the stored ensemble makes of an image."""
    ensemble = load_ensemble(run.folder / FOLDER, "cpu")
    rng = np.random.default_rng(0)
    scribble = np.full((40, 48), 255, np.uint8)
    scribble[5:10, 5:30], scribble[20:30, 10:20] = 0, 1
    found = ensemble.predict(rng.integers(0, 256, (40, 48, 3), np.uint8), scribble)
    return plain([found.mask.tolist(), found.probability.tolist()]), []


def resumed(data: Any) -> Reader:
    """The last report of a fold trial that is resumed from its folder, and the masks in it."""

    def read(run: Run) -> Facts:
        folder, config = first_fold(run), run.space().configs()[0].config
        masks: dict[str, Any] = {}
        if run.space().settings.trainable == "scripted":
            values = {name: value for name, value in config if name in Script.model_fields}
            *_, last = run_script(Script(**values), 0, folder, config.steps)
            found = [last["step"], last["score"]]
        elif run.space().settings.trainable == "image":
            *_, report = segment_fold(config, data, run.folds(), 0, folder, device="cpu")
            found = [report.step, report.scores]
            masks = stored_masks(folder, run.folds().held_out(0))
        else:
            *_, trained = train_fold(config, data, run.folds(), 0, folder, device="cpu", workers=0)
            found = [trained.step, trained.scores]
        hashes = {stem: hashlib.sha256(mask.tobytes()).hexdigest() for stem, mask in sorted(masks.items())}
        steps = [record["step"] for record in read_lines(folder / "metrics.jsonl")]
        log = (folder / "log.txt").read_text().splitlines()
        return plain([*found, hashes, steps[-1:]]), [
            line for line in log if "is damaged" in line or "were lost" in line
        ]

    return read


def first_fold(run: Run) -> Path:
    return run.folder / "configs" / run.space().configs()[0].id / "fold_0"


def plain(value: Any) -> Any:
    """As JSON, in which NaN equals itself."""
    return json.dumps(value, sort_keys=True, default=str)


def subjects(run: Run, data: Any) -> list[Subject]:
    """The files of a finished run of networks, of methods or of scripts."""
    fold = first_fold(run).relative_to(run.folder).as_posix()
    config, ensemble, resume = str(Path(fold).parent), FOLDER.as_posix(), resumed(data)
    networks = run.space().settings.trainable == "fold"
    found = [
        Subject("journal.jsonl", (status, tables, rebuilt)),
        Subject("space.yaml", (launched, tables)),
        Subject("env.json", (launched, tables)),
        Subject("folds.json", (folds, launched)),
        Subject("plan.json", (plan,)),
        Subject(f"{config}/config.json", (configs, relaunched_configs, rebuilt)),
        Subject(f"{fold}/metrics.jsonl", (rebuilt, resume)),
        Subject(f"{fold}/images.parquet", (images,)),
        Subject(f"{fold}/scores.json", (manifest,), slow=networks),
        Subject(f"{fold}/results.jsonl", (resume,), recovers=True),
        Subject(f"{fold}/trial.json", (resume,)),
        Subject(f"{fold}/last.json", (resume,), recovers=True),
        Subject(f"{fold}/last.pt", (resume,), recovers=True, slow=True),
        Subject(f"{fold}/best.pt", (weights,)),
        Subject(f"{ensemble}/ensemble.json", (members if networks else prediction,)),
        Subject(f"{ensemble}/refinement.json", (members,)),
        Subject(f"{ensemble}/ensemble.pt", (prediction,), slow=True),
    ]
    return [subject for subject in found if (run.folder / subject.file).exists()]
