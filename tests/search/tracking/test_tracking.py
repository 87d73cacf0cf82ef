"""Trackers log every report exactly once, even if the driver, a worker or the tracker fails.

The results are read back with the libraries of the trackers.
"""

import sys
from contextlib import suppress
from types import ModuleType, SimpleNamespace

import pytest
from driver_death import Killed
from hypothesis import given, settings
from hypothesis import strategies as st

from search.messages import Entrant, Finished, Report, Stop
from search.policies.registry import SCHEDULERS
from search.runs.journal import Journal, read_journal
from search.runs.study import Study, replay_lines
from search.tracking.identity import TRACKING
from search.tracking.sync import track_run
from search.tracking.tracker import make_trackers
from trainable.errors import UserError
from trainable.storage.checked_json import read_checked, write_checked

STEPS = (2, 4, 6)
ENTRANTS = [Entrant(f"c{k}", STEPS, {"loss": "iou", "pc": 1.5, "attention": None, "quality": k}) for k in range(2)]


def launch(folder, trackers, name="grid", reports=10**9, nan=()):
    """Drive a study as the engine does, repeating the last report of each fold; die after this many ``reports``."""
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
                    report = Report(*cell, step, score_at(*cell, step), 1.0 * step)
                    verdict = study.report(report)
                    stopped = verdict.reason if isinstance(verdict, Stop) else None
                    track("report", {**report.record(), "stop": stopped})
                    if stopped:
                        break
    return policy


def score_at(config, fold, step):
    return 0.5 + 0.01 * int(config[1:]) + 0.1 * fold + 0.001 * step


def expected(steps=STEPS):
    return {(c, f): [(step, score_at(c, f, step)) for step in steps] for c in ("c0", "c1") for f in (0, 1)}


class MemoryTracker:
    """A tracker in memory that fails on demand."""

    location = "memory"

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
        points = self.points.setdefault((trial.config, trial.fold), [])
        if sum(map(len, self.points.values())) == self.fails_at:
            raise RuntimeError("the server is gone\nand more")
        points.append((step, score))

    def close(self, trial, state, reason):
        assert reason
        self.open_now.remove(trial.name)
        self.states[trial.config, trial.fold] = state


def forget_closed_trials(folder):
    """Restore the state after a SIGKILL, when no trial has been closed."""
    path = folder / TRACKING
    write_checked(path, {**read_checked(path), "settled": {}})


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 11), st.booleans()), max_size=4), st.sampled_from(["grid", "foldrace"]))
def test_each_report_is_logged_once_however_often_the_driver_dies(tmp_path_factory, deaths, name):
    folder, tracker = tmp_path_factory.mktemp("run"), MemoryTracker()
    for reports, hard in deaths:
        with suppress(Killed):
            launch(folder, [tracker], name, reports)
        if hard:
            forget_closed_trials(folder)
    launch(folder, [tracker], name)
    journal = [line.fields for line in read_journal(folder / "journal.jsonl") if line.kind == "report"]
    logged = [(c, f, step) for (c, f), points in tracker.points.items() for step, _ in points]
    assert sorted(logged) == sorted((report["config"], report["fold"], report["step"]) for report in journal)
    assert not tracker.open_now
    opened = tracker.opened
    launch(folder, [tracker], name)
    assert tracker.opened == opened, "trials that are in sync are not opened again"


def test_a_tracker_that_fails_is_reported_once_and_synced_at_the_next_launch(tmp_path, capsys):
    failing, working = MemoryTracker(), MemoryTracker()
    failing.fails_at, working.location = 4, "another"
    policy = launch(tmp_path, [failing, working])
    stderr = capsys.readouterr().err
    assert policy.answer().winner == "c1" and working.points == expected()
    assert stderr.count("the server is gone; the search continues") == 1 and "and more" not in stderr
    failing.fails_at = None
    failing.open_now.clear()
    launch(tmp_path, [failing, working])
    assert failing.points == expected() and working.points == expected()


def test_tracking_that_is_enabled_late_logs_earlier_reports(tmp_path):
    with pytest.raises(Killed):
        launch(tmp_path, [], reports=5)
    tracker = MemoryTracker()
    launch(tmp_path, [tracker], nan=[("c1", 1, 4)])
    assert tracker.points == {**expected(), ("c1", 1): expected()["c1", 1][:1]}
    assert tracker.states == {("c0", 0): "done", ("c0", 1): "done", ("c1", 0): "done", ("c1", 1): "failed"}


def test_tensorboard_shows_scores_parameters_and_state_of_each_fold(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    for reports in (4, 3):
        with pytest.raises(Killed):
            launch(tmp_path, make_trackers(["tensorboard"], tmp_path), reports=reports)
        forget_closed_trials(tmp_path)
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
        hparams = HParamsPluginData.FromString(content).session_start_info.hparams
        assert (hparams["loss"].string_value, hparams["pc"].number_value) == ("iou", 1.5)
        assert hparams["attention"].string_value == "None"
        assert b"done: complete" in read.Tensors("state/text_summary")[-1].tensor_proto.string_val[0]


@pytest.mark.parametrize("store", ["", "file"])
def test_mlflow_shows_scores_parameters_and_state_of_each_fold(tmp_path, monkeypatch, store):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs/demo"
    uri = f"file:{tmp_path}/store" if store else f"sqlite:///{run}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri if store else "")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    run.mkdir(parents=True)
    with pytest.raises(Killed):
        launch(run, make_trackers(["mlflow"], run), reports=5)
    forget_closed_trials(run)
    launch(run, make_trackers(["mlflow"], run), nan=[("c1", 1, 4)])
    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("demo").experiment_id])
    assert len(runs) == 4
    assert {path.name for path in tmp_path.iterdir()} == ({"runs", "store"} if store else {"runs"})
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
        assert step >= self.step, "W&B drops steps that go back"
        self.rows[step], self.step = values, step + 1

    def finish(self, exit_code):
        self.code = exit_code


@pytest.fixture
def wandb(monkeypatch):
    """A fake of W&B's library that keeps runs by id with the arguments they were created with."""
    module, runs = ModuleType("wandb"), {}

    def init(**arguments):
        assert (arguments["resume"], arguments["reinit"]) == ("allow", "create_new") and "mode" not in arguments
        new = FakeRun(rows={}, step=0, summary={}, resumed=False, code=None, arguments=arguments)
        run = runs.setdefault(arguments["id"], new)
        run.resumed = bool(run.rows)
        return run

    module.init, module.Settings, module.runs = init, SimpleNamespace, runs
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_shows_scores_parameters_and_state_of_each_fold(tmp_path, wandb, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "scribbles")
    with pytest.raises(Killed):
        launch(tmp_path, make_trackers(["wandb"], tmp_path), reports=5)
    forget_closed_trials(tmp_path)
    launch(tmp_path, make_trackers(["wandb"], tmp_path))
    assert len(wandb.runs) == 4
    for run in wandb.runs.values():
        cell = (run.arguments["group"], run.arguments["config"]["fold"])
        assert [(step, row["score"]) for step, row in run.rows.items()] == expected()[cell]
        assert (run.arguments["project"], run.arguments["config"]["loss"]) == ("scribbles", "iou")
        assert (run.code, run.tags, run.summary["state"]) == (0, ("done",), "done")


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_library_is_an_error_with_the_command_that_installs_it(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, {"tensorboard": "tensorboardX"}.get(name, name), None)
    with pytest.raises(UserError, match=rf'{name}: .*not installed.*pip install "scribble-search\[{name}\]"'):
        make_trackers([name], tmp_path)
    assert not any(tmp_path.iterdir())


def test_the_location_of_a_server_hides_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@host/path")
    (tracker,) = make_trackers(["mlflow"], tmp_path)
    assert tracker.location.endswith("https://host/path")
