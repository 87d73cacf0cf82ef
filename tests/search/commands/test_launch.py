"""``search launch`` as a user runs it: killed, interrupted, launched twice and resumed, with the other run commands."""

import json
import re
import shlex
import signal
import time
from pathlib import Path

import pytest
from launched_here import run_here, use_here
from study_files import open_study

from search.commands.launch import _settings
from search.policies.registry import policy_of
from search.runs.journal import read_journal
from search.runs.run_folder import Run
from search.runs.study import verdicts
from spaces.load import make_space
from trainable.errors import UserError
from trainable.storage.checked_json import read_checked, write_checked

SCRIPTED = """
name: demo
folds: 2
trainable: scripted
parameters:
  quality: {values: [0.70, 0.72, 0.74, 0.76]}
  steps: 6
  evaluations: 6
  step_seconds: 0.05
scheduler: foldrace
resources: {gpu: 0, cpu: 2}
"""
OWN_RAY = {"RAY_ADDRESS": ""}
FAILING_DRIVER = str(Path(__file__).parents[2] / "support" / "failing_driver.py")


@pytest.fixture(autouse=True)
def demo(tmp_path, small_cache, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(small_cache))
    (tmp_path / "demo.yaml").write_text(SCRIPTED)


@pytest.fixture
def launch(start):
    """Start a launch of the demo without waiting for it."""
    return lambda *words, **more: start("-m", "search", "launch", "demo.yaml", *words, **more)


@pytest.fixture
def killed(program):
    """Launch the demo with a driver that is killed after so many reports; returns its stderr."""

    def launch_until(reports, *words, **more):
        done = program(FAILING_DRIVER, "kill", "report", str(reports), "launch", "demo.yaml", *words, **more)
        assert done.returncode == -signal.SIGKILL, done.stderr
        return done.stderr

    return launch_until


def wait_for_reports(path, count, process):
    """Wait until the journal has this many reports or the process ends."""
    while process.poll() is None and sum(line.kind == "report" for line in read_journal(path)) < count:
        time.sleep(0.02)


def reports(path):
    return [
        (line.fields["config"], line.fields["fold"], line.fields["step"])
        for line in read_journal(path)
        if line.kind == "report"
    ]


def test_a_driver_killed_with_its_own_ray_resumes_and_status_shows_the_winner(killed, search, tmp_path):
    journal = tmp_path / "runs/demo/journal.jsonl"
    stderr = killed(5, **OWN_RAY)
    plan = stderr.index("plan: 4 configs x 2 folds = 8 fold trials, 48 steps")
    assert plan < stderr.index("train until"), "the plan comes first"
    assert json.loads((tmp_path / "runs/demo/plan.json").read_text())["steps"] == 48
    assert json.loads(run_here("status", "demo", "--format", "json").stdout)["state"].startswith("died")
    done = search("launch", "demo.yaml", "--serve", **OWN_RAY)
    assert done.returncode == 0, done.stderr
    assert re.search(r"live page: http://127\.0\.0\.1:\d+/\?token=\S{20}", done.stderr)
    assert re.search(r"winner .* 0\.76", done.stdout) and "Next: python -m analysis report" in done.stderr
    recorded = reports(journal)
    assert len(recorded) == len(set(recorded)), "a report was recorded twice"
    run = Run(tmp_path / "runs/demo")
    assert verdicts(policy_of(run.space()), run.lines()) == [], "replaying the journal gives different decisions"
    document = json.loads(run_here("status", "demo", "--format", "json").stdout)
    assert {"state", "configs", "trials", "gpu_seconds", "leader"} <= set(document)
    assert document["configs"] == 4 and set(document["trials"]) >= {"done", "running", "paused", "failed"}
    leader = json.loads((run.folder / "configs" / document["leader"]["id"] / "config.json").read_text())
    assert leader["values"]["quality"] == 0.76
    listed = json.loads(run_here("list", "--format", "json").stdout)
    assert [row["run"] for row in listed] == ["demo"] and listed[0]["state"].startswith("ended")
    ledger = json.loads(run_here("ledger", "demo", "--format", "json").stdout)
    assert sum(ledger["parts"].values()) == pytest.approx(ledger["busy"])
    assert document["gpu_seconds"] < ledger["busy"] <= ledger["workers"] * ledger["wall"]
    again = run_here("launch", "demo.yaml", "--address", "nowhere:1")
    assert again.exit_code == 0 and "train until" not in again.stderr, "a finished run has nothing to train"
    assert "nothing left to run, so Ray is not started" in again.stderr
    assert json.loads(run_here("status", "demo", "--format", "json").stdout)["state"].startswith("ended")


def test_a_run_is_stopped_from_another_terminal_then_by_ctrl_c_and_resumes(launch, search, tmp_path):
    journal = tmp_path / "runs/demo/journal.jsonl"
    slow = ("--set", "parameters.step_seconds=0.3", "--set", "parameters.quality={values: [0.70, 0.76]}")
    process = launch(*slow)
    wait_for_reports(journal, 1, process)
    with pytest.raises(UserError, match="driven by another process"):
        run_here("launch", "demo.yaml", *slow)
    assert json.loads(run_here("status", "demo", "--format", "json").stdout)["state"] == "running"
    assert run_here("stop", "demo").exit_code == 0
    process.communicate(timeout=60)
    assert process.returncode == 130
    with pytest.raises(UserError, match="this run is not running"):
        run_here("stop", "demo")
    process = launch(*slow)
    wait_for_reports(journal, len(reports(journal)) + 2, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    command = shlex.split(stderr.strip().splitlines()[-1])
    assert command == ["python", "-m", "search", "launch", "demo.yaml", *slow]
    assert search(*command[3:]).returncode == 0
    recorded = reports(journal)
    assert len(recorded) == len(set(recorded)) and len(recorded) >= 2 * 6


def test_a_run_leaves_its_ledger_curves_configspace_and_tracker_records(monkeypatch, tmp_path):
    from ConfigSpace import ConfigurationSpace
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    search = use_here(monkeypatch)
    words = ("launch", "demo.yaml", "--set", "scheduler=grid", "--set", "tracking=tensorboard")
    words += ("--set", "parameters.step_seconds=0.01")
    assert search(*words, "--set", "budget.trials=3").exit_code == 3
    done = search(*words)
    assert done.exit_code == 0 and "tracking: tensorboard --logdir runs/demo/tensorboard" in done.stderr, done.stderr
    folder = tmp_path / "runs/demo"

    def command(*words):
        done = search(*words)
        assert done.exit_code == 0, done.output
        return done.stdout

    ledger = json.loads(command("ledger", folder, "--format", "json"))
    kept = json.loads(command("status", folder, "--format", "json"))["gpu_seconds"]
    assert ledger["parts"]["done"] == pytest.approx(kept) and ledger["parts"]["lost"] == ledger["unseen"] == 0
    assert sum(ledger["parts"].values()) == pytest.approx(ledger["busy"])
    assert kept < ledger["busy"] <= ledger["workers"] * ledger["wall"] and len(ledger["trials"]) == 8
    assert command("ledger", folder, "--format", "csv").count("\n") == 9 and "overhead" in command("ledger", folder)
    command("curves", folder, "--out", tmp_path / "curves.parquet")
    for source in (folder, tmp_path / "curves.parquet", folder.parent):
        (row,) = json.loads(command("replay", source, "--scheduler", "grid", "--format", "json"))
        assert row["cost"] == 1.0 and row["regret"] == 0.0
    assert tuple(ConfigurationSpace.from_json(folder / "configspace.json")["quality"].sequence) == (
        0.70,
        0.72,
        0.74,
        0.76,
    )
    tracked = [
        (path.parent.name, int(path.name.removeprefix("fold_")), event.step)
        for path in folder.glob("tensorboard/*/fold_*")
        for event in EventAccumulator(str(path)).Reload().Scalars("score")
    ]
    assert sorted(tracked) == sorted(reports(folder / "journal.jsonl")) and len(tracked) == 4 * 2 * 6


def test_the_error_names_the_damaged_line_of_a_journal_and_recover_rebuilds_it(monkeypatch, tmp_path):
    search = use_here(monkeypatch)
    assert search("launch", "demo.yaml").exit_code == 0
    journal = tmp_path / "runs/demo/journal.jsonl"
    recorded = set(reports(journal))
    winner = json.loads(search("status", "demo", "--format", "json").stdout)["leader"]
    lines = journal.read_text().splitlines()
    lines[7] = lines[7][:20]
    journal.write_text("\n".join(lines) + "\n")
    for words in (["launch", "demo.yaml"], ["status", "demo"]):
        with pytest.raises(UserError, match=r"journal\.jsonl, line 8: is damaged; launch --recover"):
            search(*words)
    done = search("launch", "demo.yaml", "--recover")
    assert done.exit_code == 0 and f"rebuilt from the fold folders with {len(recorded)} reports" in done.stderr
    assert set(reports(journal)) >= recorded
    assert json.loads(search("status", "demo", "--format", "json").stdout)["leader"] == winner
    assert (tmp_path / "runs/demo/journal.damaged.jsonl").exists()


def test_a_run_is_not_resumed_if_its_space_or_code_has_changed(monkeypatch, tmp_path):
    search = use_here(monkeypatch)
    words = ("launch", "demo.yaml", "--set", "budget.trials=1")
    budget = search(*words)
    assert budget.exit_code == 3 and "To resume" in budget.stderr
    with pytest.raises(UserError, match="a different space: folds: 2 -> 3"):
        search(*words, "--set", "folds=3")
    path = tmp_path / "runs/demo/env.json"
    changed = read_checked(path)
    changed["code"]["search"] = "0" * 16
    write_checked(path, changed)
    with pytest.raises(UserError, match=r"the code has changed since it was launched \(search\); --force-code"):
        search(*words)
    faster = ("--set", "parameters.acceleration=none")  # may change, because it does not decide a score
    forced = search(*words, *faster, "--force-code")
    assert forced.exit_code == 3, forced.stderr


def test_jobs_keep_probabilities_if_the_space_says_so_and_the_run_is_on_a_disk(tmp_path):
    class Stored(Run):
        @property
        def job_settings(self):
            return {"store": "s3://bucket/run"}

    tree = {"name": "a", "data": "data", "parameters": {}}
    spaces = [make_space({**tree, "keep_probabilities": keep}) for keep in (True, False)]
    asked = [_settings(space, kind(tmp_path)).job["keep_probabilities"] for kind in (Run, Stored) for space in spaces]
    assert asked == [True, False, False, False]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["launch", "nothing.yaml"], "nothing.yaml"),
        (["launch", "demo.yaml", "--set", "folds=1"], "folds"),
        (
            ["launch", "demo.yaml", "--set", "sampler={name: tpe, count: 2, storage: x}"],
            "sampler.storage = x: Could not",
        ),
        (["status", "nothing"], "no such run"),
        (["stop", "nothing"], "no such run"),
    ],
)
def test_a_user_error_is_one_line_and_exit_code_2(search, words, message):
    done = search(*words)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


TPE = ["--set", "sampler={name: tpe, count: 12}", "--set", "parameters.quality={min: 0.5, max: 0.9}"]
TPE += ["--set", "parameters.step_seconds=0"]


def test_a_killed_run_with_an_optuna_sampler_resumes_and_its_study_can_be_opened(killed, search, tmp_path):
    journal = tmp_path / "runs/demo/journal.jsonl"
    talk = killed(20, *TPE)
    done = search("launch", "demo.yaml", *TPE)
    assert done.returncode == 0, done.stderr
    assert "Optuna" not in talk + done.stderr and "[I " not in talk + done.stderr
    recorded = reports(journal)
    assert len(recorded) == len(set(recorded)) and len({config for config, _, _ in recorded}) == 12
    study = open_study(tmp_path / "runs/demo/optuna.db")
    latest = {trial.user_attrs["config"]: trial for trial in study.trials}
    assert latest.keys() == {config for config, _, _ in recorded}
    assert {trial.state.name for trial in latest.values()} == {"COMPLETE", "PRUNED"}
    winner = json.loads(run_here("status", "demo", "--format", "json").stdout)["leader"]
    assert study.best_trial.user_attrs["config"] == winner["id"]
    assert study.best_value == pytest.approx(winner["mean"])
    rebuilt = run_here("launch", "demo.yaml", *TPE, "--recover", "--address", "nowhere:1")
    assert rebuilt.exit_code == 0 and f"rebuilt from the fold folders with {len(recorded)} reports" in rebuilt.stderr


def test_the_shipped_space_beyond_runs_with_another_sampler(monkeypatch, tmp_path):
    search = use_here(monkeypatch)
    words = [
        "trainable=scripted",
        "sampler={name: cmaes, count: 3, seed: 1}",
        "parameters.steps=4",
        "parameters.evaluations=4",
    ]
    words += ["budget={trials: 8}", "resources={gpu: 0, cpu: 1}", "scheduler.keep=1"]
    done = search("launch", "beyond", *[word for each in words for word in ("--set", each)])
    assert done.exit_code in (0, 3), done.stderr
    configs = [json.loads(path.read_text()) for path in (tmp_path / "runs/beyond").glob("configs/*/config.json")]
    assert len(configs) >= 2
    assert all(
        ("warmup_steps" in config["values"]) == (config["config"]["encoder"] == "efficientnet-b2") for config in configs
    )


def test_a_small_quickstart_trains_real_folds_under_its_scheduler(search, tmp_path, small_folder):
    small = {"data": small_folder, "folds": 2, "resources.gpu": 0, "parameters.steps": 4, "parameters.evaluations": 2}
    small |= {"parameters.warmup_steps": 1, "parameters.augmentation": "none", "parameters.learning_rate": 0.003}
    done = search("launch", "quickstart", *(word for key in small for word in ("--set", f"{key}={small[key]}")))
    assert done.returncode == 0, done.stderr
    run = Run(tmp_path / "runs/quickstart")
    done = [folder for folder in run.folder.glob("configs/*/fold_*") if (folder / "scores.json").exists()]
    assert len(done) >= 2 and len(reports(run.journal)) >= 2 * len(done)
    assert all(
        {"images.parquet", "metrics.jsonl", "log.txt"} <= {path.name for path in each.iterdir()} for each in done
    )
    complete = [folder for folder in done if [each.parent for each in done].count(folder.parent) == 2]
    for folder in complete:
        weights, state = (folder / name for name in ("best.pt", "last.pt"))
        assert state.stat().st_size < weights.stat().st_size / 10, "the weights are there once"
    assert {path.parent for path in run.folder.glob("configs/*/*/*.pt")} == set(complete), "others cannot win any more"
    folds = json.loads((run.folder / "folds.json").read_text())
    assert folds["folds"] == 2 and folds["data_hash"] == json.loads((run.folder / "env.json").read_text())["data_hash"]


def test_unavailable_weights_are_reported_before_the_first_trial(search, tmp_path, small_folder):
    settings = {"data": small_folder, "folds": 2, "parameters.encoder": "resnet18", "resources.gpu": 0}
    settings |= {"parameters.encoder_weights": "{values: [none, imagenet]}"}
    words = [word for key in settings for word in ("--set", f"{key}={settings[key]}")]
    done = search("launch", "quickstart", *words, **OWN_RAY)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "the weights of 'resnet18' are not available here" in done.stderr
    assert {line.kind for line in read_journal(tmp_path / "runs/quickstart/journal.jsonl")} == {
        "begin",
        "config",
        "end",
    }


def test_encoders_that_cannot_be_built_are_reported_before_a_run_starts(search, tmp_path, small_folder):
    settings = {"data": small_folder, "folds": 2, "parameters.encoder": "{values: [resnet81, test_resnet, test_vit]}"}
    words = [word for key in settings for word in ("--set", f"{key}={settings[key]}")]
    done = search("launch", "quickstart", *words, **OWN_RAY)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "'resnet81': unknown to smp and timm. Did you mean 'resnet" in done.stderr
    assert "'test_vit': cannot be the encoder of a unet" in done.stderr
    assert not (tmp_path / "runs/quickstart/journal.jsonl").exists()
