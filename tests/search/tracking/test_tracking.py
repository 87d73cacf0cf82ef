"""Trackers are told every report once, whatever happens to the driver, to a worker or to them; read back by their own
libraries.
"""

import json
import sys
from contextlib import suppress
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from killed import Killed

from search.messages import Entrant, Finished, Report, Stop
from search.policies.registry import SCHEDULERS
from search.runs.journal import Journal, read_journal
from search.runs.study import Study, replay_lines
from search.tracking.identity import TRACKING
from search.tracking.sync import track_run
from search.tracking.tracker import make_trackers
from trainable.errors import UserError

STEPS = (2, 4, 6)
ENTRANTS = [Entrant(f"c{k}", STEPS, {"loss": "iou", "pc": 1.5, "attention": None, "quality": k}) for k in range(2)]


def launch(folder, trackers, name="grid", reports=10**9, nan=()):
    """Drive a study as the engine does, the last report told again first; it dies before a report of this number."""
    policy = SCHEDULERS[name]([], 2)
    replay_lines(policy, read_journal(folder / "journal.jsonl"))
    with Journal(folder / "journal.jsonl") as journal:
        study = Study(policy, journal)
        study.begin()
        for entrant in ENTRANTS:
            study.add(entrant)
        with track_run(trackers, folder, policy.score_table.entrants, read_journal(folder / "journal.jsonl")) as track:
            while not isinstance(job := study.next(), Finished):
                cell, stopped = (job.config, job.fold), None
                begun = sorted(study.policy.score_table.curve(*cell))
                for step in [*begun[-1:], *(step for step in STEPS if step not in begun)]:
                    if reports == 0:
                        raise Killed
                    reports -= 1
                    if (*cell, step) in nan:
                        study.report(Report(*cell, STEPS[-1], float("nan"), 1.0 * step))
                        track("failed", {"config": job.config, "fold": job.fold, "fault": "nan"})
                        break
                    report = Report(*cell, step, value(*cell, step), 1.0 * step)
                    verdict = study.report(report)
                    stopped = verdict.reason if isinstance(verdict, Stop) else None
                    track("report", {**vars_of(report), "stop": stopped})
                    if stopped:
                        break
    return policy


def vars_of(report):
    return {name: getattr(report, name) for name in ("config", "fold", "step", "score", "seconds")}


def value(config, fold, step):
    return 0.5 + 0.01 * int(config[1:]) + 0.1 * fold + 0.001 * step


def expected(steps=STEPS):
    return {(c, f): [(step, value(c, f, step)) for step in steps] for c in ("c0", "c1") for f in (0, 1)}


class Notebook:
    """A tracker that a test can read, and that may be out of order."""

    place = "notebook"

    def __init__(self):
        self.points, self.states, self.open_now, self.opened = {}, {}, set(), 0
        self.fails_at = None

    def open(self, trial):
        assert trial.name not in self.open_now
        self.open_now.add(trial.name)
        self.opened += 1
        return max((step for step, _ in self.points.get((trial.config, trial.fold), [])), default=0)

    def report(self, trial, step, score, seconds, at):
        assert trial.name in self.open_now and at > 1e9
        told = self.points.setdefault((trial.config, trial.fold), [])
        if len([point for points in self.points.values() for point in points]) == self.fails_at:
            raise RuntimeError("the server is gone\nand more")
        told.append((step, score))

    def close(self, trial, state, reason):
        assert reason
        self.open_now.remove(trial.name)
        self.states[trial.config, trial.fold] = state


def forget_what_was_settled(folder):
    """As after a SIGKILL: nobody has closed or written down anything at the end."""
    path = folder / TRACKING
    path.write_text(json.dumps({**json.loads(path.read_text()), "settled": {}}))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 11), st.booleans()), max_size=4), st.sampled_from(["grid", "foldrace"]))
def test_however_often_the_driver_dies_each_report_is_told_once(tmp_path_factory, deaths, name):
    folder, notebook = tmp_path_factory.mktemp("run"), Notebook()
    for reports, hard in deaths:
        with suppress(Killed):
            launch(folder, [notebook], name, reports)
        if hard:
            forget_what_was_settled(folder)
    launch(folder, [notebook], name)
    journal = [line.fields for line in read_journal(folder / "journal.jsonl") if line.kind == "report"]
    told = [(c, f, step) for (c, f), points in notebook.points.items() for step, _ in points]
    assert sorted(told) == sorted((report["config"], report["fold"], report["step"]) for report in journal)
    assert not notebook.open_now
    opened = notebook.opened
    launch(folder, [notebook], name)
    assert notebook.opened == opened, "what was told to its end is not asked for again"


def test_a_tracker_that_fails_is_told_of_once_and_filled_in_at_the_next_launch(tmp_path, capsys):
    broken, well = Notebook(), Notebook()
    broken.fails_at, well.place = 4, "another"
    policy = launch(tmp_path, [broken, well])
    told = capsys.readouterr().err
    assert policy.answer().winner == "c1" and well.points == expected()
    assert told.count("the server is gone; the search goes on") == 1 and "and more" not in told
    broken.fails_at = None
    broken.open_now.clear()
    launch(tmp_path, [broken, well])
    assert broken.points == expected() and well.points == expected()


def test_tracking_that_is_turned_on_late_is_told_what_was_before(tmp_path):
    with pytest.raises(Killed):
        launch(tmp_path, [], reports=5)
    notebook = Notebook()
    launch(tmp_path, [notebook], nan=[("c1", 1, 4)])
    assert notebook.points == {**expected(), ("c1", 1): expected()["c1", 1][:1]}
    assert notebook.states == {("c0", 0): "done", ("c0", 1): "done", ("c1", 0): "done", ("c1", 1): "failed"}


def test_tensorboard_reads_scores_parameters_and_state_of_each_fold(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    for reports in (4, 3):
        with pytest.raises(Killed):
            launch(tmp_path, make_trackers(["tensorboard"], tmp_path), reports=reports)
        forget_what_was_settled(tmp_path)
    with next((tmp_path / "tensorboard/c0/fold_0").iterdir()).open("ab") as file:
        file.write(b"\x18\x00\x00\x00\x00\x00\x00\x00torn")
    launch(tmp_path, make_trackers(["tensorboard"], tmp_path))
    for (config, fold), points in expected().items():
        read = EventAccumulator(str(tmp_path / "tensorboard" / config / f"fold_{fold}")).Reload()
        assert [(event.step, event.value) for event in read.Scalars("score")] == [
            (step, pytest.approx(score)) for step, score in points
        ]
        assert [event.value for event in read.Scalars("seconds")] == [2.0, 4.0, 6.0]
        content = read.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        told = HParamsPluginData.FromString(content).session_start_info.hparams
        assert (told["loss"].string_value, told["pc"].number_value, told["attention"].string_value) == (
            "iou", 1.5, "None",
        )  # fmt: skip
        assert b"done: complete" in read.Tensors("state/text_summary")[-1].tensor_proto.string_val[0]


@pytest.mark.parametrize("given", ["", "file"])
def test_mlflow_reads_scores_parameters_and_state_of_each_fold(tmp_path, monkeypatch, given):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs/demo"
    uri = {
        "": f"sqlite:///{run}/mlflow.db",
        "sqlite": f"sqlite:///{tmp_path}/other.db",
        "file": f"file:{tmp_path}/store",
    }
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri[given] if given else "")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    run.mkdir(parents=True)
    with pytest.raises(Killed):
        launch(run, make_trackers(["mlflow"], run), reports=5)
    forget_what_was_settled(run)
    launch(run, make_trackers(["mlflow"], run), nan=[("c1", 1, 4)])
    client = MlflowClient(tracking_uri=uri[given])
    runs = client.search_runs([client.get_experiment_by_name("demo").experiment_id])
    assert len(runs) == 4 and sorted(path.name for path in tmp_path.iterdir()) == sorted(
        {"": ["runs"], "file": ["runs", "store"]}[given]
    )
    for each in runs:
        tags = each.data.tags
        cell = (tags["scribble_search.config"], int(tags["scribble_search.fold"]))
        failed = cell == ("c1", 1)
        history = client.get_metric_history(each.info.run_id, "score")
        assert sorted((metric.step, metric.value) for metric in history) == expected()[cell][: 1 if failed else 3]
        assert (each.data.params["loss"], each.data.params["pc"], each.data.params["fold"]) == (
            "iou",
            "1.5",
            str(cell[1]),
        )
        assert each.info.status == ("FAILED" if failed else "FINISHED")
        assert tags["scribble_search.state"] == ("failed" if failed else "done")
        assert tags["scribble_search.reason"].startswith("nan" if failed else "complete")


class FakeRun(SimpleNamespace):
    def log(self, values, step):
        assert step >= self.step, "W&B drops what goes back"
        self.rows[step], self.step = values, step + 1

    def finish(self, exit_code):
        self.code = exit_code


@pytest.fixture
def wandb(monkeypatch):
    """Stands in for W&B's library: runs by id, and what was asked of it."""
    module, runs = ModuleType("wandb"), {}

    def init(**asked):
        assert (asked["resume"], asked["reinit"]) == ("allow", "create_new") and "mode" not in asked
        known = runs.setdefault(
            asked["id"], FakeRun(rows={}, step=0, summary={}, resumed=False, code=None, asked=asked)
        )
        known.resumed = bool(known.rows)
        return known

    module.init, module.Settings, module.runs = init, SimpleNamespace, runs
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_is_told_scores_parameters_and_state_of_each_fold(tmp_path, wandb, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "scribbles")
    with pytest.raises(Killed):
        launch(tmp_path, make_trackers(["wandb"], tmp_path), reports=5)
    forget_what_was_settled(tmp_path)
    launch(tmp_path, make_trackers(["wandb"], tmp_path))
    assert len(wandb.runs) == 4
    for run in wandb.runs.values():
        cell = (run.asked["group"], run.asked["config"]["fold"])
        assert [(step, row["score"]) for step, row in run.rows.items()] == expected()[cell]
        assert (run.asked["project"], run.asked["config"]["loss"]) == ("scribbles", "iou")
        assert (run.code, run.tags, run.summary["state"]) == (0, ("done",), "done")


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_library_that_is_missing_is_told_with_the_command_that_brings_it(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, {"tensorboard": "tensorboardX"}.get(name, name), None)
    with pytest.raises(UserError, match=rf'{name}: .*not installed.*pip install "scribble-search\[{name}\]"'):
        make_trackers([name], tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_server_is_told_of_without_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@host/path")
    (tracker,) = make_trackers(["mlflow"], tmp_path)
    assert tracker.place.endswith("https://host/path")
