"""Scripted studies on a real local Ray find the winner and survive faults."""

import json
import re
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
import ray

from cluster.capacity.capacity import Capacity
from cluster.capacity.nodes import NodePool
from search.engine.job_feed import JobFeed
from search.engine.listeners import Listeners
from search.engine.ray_adapter import VerdictScheduler, drive, placement_of
from search.engine.settings import EngineSettings
from search.messages import Entrant
from search.policies.registry import SCHEDULERS
from search.runs.journal import Journal, read_journal
from search.runs.run_folder import STOP_FILE
from search.runs.study import Study, replay_lines, verdicts
from trainable.errors import UserError
from trainable.scripted import Script

FOLDS = 2


@pytest.fixture
def run(cluster, tmp_path):
    """Run scripts as configs c0, c1, ... and return the policy at the end and the outcome."""

    def run_scripts(scripts, scheduler="grid", on_event=lambda event, facts: None, **settings):
        policy = SCHEDULERS[scheduler]([], FOLDS, budget=settings.pop("gpu_seconds", None))
        replay_lines(policy, read_journal(tmp_path / "journal.jsonl"))
        values = {f"c{k}": script for k, script in enumerate(scripts)}
        capacity = Capacity(settings.pop("cpu", 2.0), settings.pop("gpu", 0.0), None)  # one fold trial at a time
        settings = {"retries": 2, "hang_seconds": 60.0, **settings}
        with Journal(tmp_path / "journal.jsonl") as journal:
            study = Study(policy, journal)
            study.begin()
            for config, script in values.items():
                study.add(Entrant(config, tuple(Script(**script).report_steps(10**9))))
            return policy, drive(study, values, EngineSettings(tmp_path, {}, **settings), capacity, Listeners(on_event))

    return run_scripts


def report_steps(lines):
    return [
        (line.fields["config"], line.fields["fold"], line.fields["step"]) for line in lines if line.kind == "report"
    ]


def check_journal(path, scheduler="grid"):
    """The journal holds every report once, and replaying it gives the same verdicts."""
    lines = read_journal(path / "journal.jsonl")
    steps = report_steps(lines)
    assert len(steps) == len(set(steps))
    assert verdicts(SCHEDULERS[scheduler]([], FOLDS), lines) == []
    return lines


def good(quality=0.8, **more):
    return {"quality": quality, "steps": 4, "evaluations": 4, **more}


def test_a_free_actor_takes_the_newest_pending_job():
    states = {"a": "PENDING", "b": "RUNNING", "c": "PENDING", "stranded": "PENDING"}
    live = [SimpleNamespace(trial_id=k, status=v, init_local_path=lambda: None) for k, v in states.items()]
    stopped = []
    tune = SimpleNamespace(_staged_trials=[])
    controller = SimpleNamespace(get_live_trials=lambda: live, stop_trial=stopped.append, _tune_controller=tune)
    for jobs, chosen in {"acb": live[2], "ca": live[0], "b": None, "": None}.items():
        feed = SimpleNamespace(jobs=dict.fromkeys(jobs), requeue_stranded=lambda trial: trial == "stranded")
        assert VerdictScheduler(feed, NodePool()).choose_trial_to_run(controller) is chosen
    assert stopped == [live[3]] * 4, "a stranded trial is stopped"


def test_a_trial_that_can_no_longer_start_does_not_keep_the_run_from_ending(run, monkeypatch, capfd):
    """Its job is handed out again, but Tune waits for each of its trials that was not stopped, and keeps idle actors
    for it, which may have the resources that the others need.
    """
    hand_out, nodes = JobFeed._hand_out, [ray.nodes()[0]["NodeID"]]
    choose, expected = VerdictScheduler.choose_trial_to_run, {}
    requeue, waiting = JobFeed.requeue_stranded, iter(range(3))

    def recorded(scheduler, controller):
        chosen = choose(scheduler, controller)
        expected.update(controller._tune_controller._actor_cache._max_num_objects)
        return chosen

    monkeypatch.setattr(VerdictScheduler, "choose_trial_to_run", recorded)
    monkeypatch.setattr(JobFeed, "requeue_stranded", lambda *of: next(waiting, None) is None and requeue(*of))

    def once_on_no_node(feed, trial, job, allotment, exclusive=False):
        return hand_out(feed, trial, job, replace(allotment, avoid=(nodes.pop(),)) if nodes else allotment, exclusive)

    monkeypatch.setattr(JobFeed, "_hand_out", once_on_no_node)
    policy, outcome = run([good()])
    assert outcome.reason == "every job is done" and policy.score_table.complete("c0") and not nodes
    assert "FoldTrial" not in capfd.readouterr().out, "Tune says nothing of its trials"
    assert len(expected) == 2 and not any(expected.values()), "no idle actor is kept for a placement"


def test_a_local_ray_has_only_the_processes_that_it_needs(cluster):
    assert ray._private.worker._global_node.all_processes.keys() == {"gcs_server", "raylet"}


def test_the_winner_is_found(run, tmp_path):
    policy, outcome = run([good(0.70), good(0.75), good(0.80), good(0.72)])
    assert outcome.reason == "every job is done" and policy.answer().winner == "c2"
    check_journal(tmp_path)


def test_faults_are_retried_and_cost_a_config_only_if_they_persist(run, tmp_path):
    scripts = [
        good(0.80, fault="crash", fault_step=3),
        good(0.79, fault="kill", fault_step=3, fault_times=2, fault_folds=(0,)),
        good(0.85, fault="crash", fault_step=2, fault_times=1000),
        good(0.85, fault="nan", fault_step=2, fault_folds=(0,), fault_times=1000),
        good(0.85, fault="out_of_memory", fault_step=2, fault_folds=(0,), fault_times=1000),
    ]
    policy, outcome = run(scripts)
    assert outcome.reason == "every job is done" and policy.answer().winner == "c0"
    assert set(policy.score_table.failed) == {"c2", "c3", "c4"} and policy.score_table.complete("c1")
    lines = check_journal(tmp_path)
    faults = Counter(line.fields["config"] for line in lines if line.kind == "fault")
    assert faults["c0"] == 2, "once in each of the two folds"
    assert faults["c1"] == 2, "twice in one fold"
    for cell in ("c0/fold_0", "c1/fold_0"):
        state = json.loads((tmp_path / "configs" / cell / "last.json").read_text())
        assert state["report"]["step"] == 4, "resumed from its checkpoint"
    (error,) = tmp_path.glob("configs/c2/fold_*/error.txt")
    assert "the script says crash at step 2" in error.read_text()
    log = error.with_name("log.txt").read_text()
    assert log.count("crashed:\nTraceback") == 3 and log.count("retried after: RuntimeError") == 2
    assert log.splitlines()[-1].endswith("failed: crash")
    for config, fault in (("c3", "nan"), ("c4", "out_of_memory")):
        assert (tmp_path / "configs" / config / "fold_0/error.txt").read_text().startswith(fault)


class ExclusivityCheck:
    """A listener that asserts that a fold trial that ran out of memory is retried while no other is running."""

    def __init__(self):
        self.running, self.out_of_memory, self.retried = set(), set(), []

    def __call__(self, event, facts):
        cell = (facts["config"], facts["fold"])
        if event == "job":
            assert not self.running & self.out_of_memory, f"{cell} starts during an exclusive retry"
            self.running.add(cell)
            if cell in self.out_of_memory:
                assert self.running == {cell}, f"{cell} is not retried alone"
                self.retried.append(cell)
        elif event == "fault":
            self.out_of_memory.add(cell)
            self.running.remove(cell)
        elif event == "failed" or facts["stop"]:
            self.running.remove(cell)


SHARED = [{"cpu": 1.0, "gpu": 0.5}, {"cpu": 1.0}]


@pytest.mark.parametrize("resources", SHARED, ids=["half a GPU each", "a core each"])
def test_out_of_memory_on_a_shared_device_is_retried_alone_and_may_win(run, tmp_path, resources):
    check = ExclusivityCheck()
    policy, outcome = run(
        [good(0.7), good(0.8, fault="out_of_memory", fault_step=3), good(0.75, step_seconds=0.05), good(0.6)],
        on_event=check,
        **resources,
    )
    assert outcome.reason == "every job is done" and policy.answer().winner == "c1"
    assert sorted(check.retried) == [("c1", 0), ("c1", 1)]
    assert sum(line.kind == "fault" for line in check_journal(tmp_path)) == 2


@pytest.mark.parametrize("resources", SHARED, ids=["half a GPU each", "a core each"])
def test_out_of_memory_while_alone_fails_the_config_and_the_run_continues(run, tmp_path, resources):
    check = ExclusivityCheck()
    hopeless = good(0.8, fault="out_of_memory", fault_step=3, fault_folds=(0,), fault_times=1000)
    policy, outcome = run([good(0.7), hopeless, good(0.75), good(0.6)], on_event=check, **resources)
    assert outcome.reason == "every job is done" and set(policy.score_table.failed) == {"c1"}
    assert check.retried == [("c1", 0)] and policy.answer().winner == "c2"
    check_journal(tmp_path)


def test_a_job_reserves_its_resources_on_its_kind_of_gpu():
    job = {"cpus": 2.0, "gpus": 0.3333, "kind": "", "avoid": []}
    assert placement_of(job).bundles == [{"CPU": 2, "GPU": 0.3333}]
    assert placement_of(job | {"gpus": 0.0}).bundles == [{"CPU": 2}]
    assert placement_of(job | {"kind": "A100"}).bundles == [{"CPU": 2, "GPU": 0.3333, "accelerator_type:A100": 0.001}]
    assert placement_of(job) != placement_of(job | {"avoid": ["f00"]}), "no reuse of an actor on that node"


def test_a_full_disk_ends_the_run_without_failing_configs_and_the_run_resumes(run, tmp_path):

    scripts = [good(fault="disk_full", fault_step=3, fault_folds=(1,)), good(0.7)]
    with pytest.raises(UserError, match=r"No space left on device.*fix this and launch again"):
        run(scripts)
    policy, _ = run(scripts)
    assert not policy.score_table.failed and policy.answer().winner == "c0"


def test_a_fold_that_hangs_is_killed_and_retried(run, tmp_path):
    policy, _ = run([good(fault="hang", fault_step=2, fault_folds=(0,)), good(0.7)], hang_seconds=2.0)
    assert policy.score_table.complete("c0") and policy.score_table.complete("c1")
    assert any(line.kind == "fault" for line in check_journal(tmp_path))
    log = (tmp_path / "configs/c0/fold_0/log.txt").read_text()
    assert re.search(r"killed by the watchdog, hanging here:\nTimeout.*\n.*File .*scripted\.py", log, re.S)


def test_a_spent_budget_ends_the_run_and_a_larger_one_resumes_it(run, tmp_path):
    scripts = [good(0.7, step_seconds=0.05), good(0.8, step_seconds=0.05)]
    policy, outcome = run(scripts, gpu_seconds=0.25)
    assert outcome.budget_spent and "budget spent" in outcome.reason
    assert 0.25 <= policy.score_table.spent < 0.8
    policy, outcome = run(scripts)
    assert policy.answer().winner == "c1" and not outcome.budget_spent
    steps = report_steps(read_journal(tmp_path / "journal.jsonl"))
    assert len(steps) == len(set(steps)) == 2 * FOLDS * 4


@pytest.mark.parametrize(("limit", "reason"), [({"wall": 0.0}, "wall-clock budget"), ({"trials": 1}, "1 fold trial")])
def test_budgets_of_time_and_trials_end_the_run(run, limit, reason):
    _, outcome = run([good(0.7), good(0.8)], **limit)
    assert outcome.budget_spent and reason in outcome.reason


def test_a_stop_file_ends_the_run_after_the_next_reports(run, tmp_path):
    def request_stop(event, facts):
        if event == "report":
            (tmp_path / STOP_FILE).touch()

    _, outcome = run([good(0.7), good(0.8)], on_event=request_stop)
    assert outcome.interrupted
    (tmp_path / STOP_FILE).unlink()
    policy, outcome = run([good(0.7), good(0.8)])
    assert not outcome.interrupted and policy.answer().winner == "c1"


def test_a_journal_that_cannot_be_written_ends_the_run_with_an_error(run, tmp_path, monkeypatch):

    original, count = Journal.append, [0]

    def append(self, kind, **fields):
        count[0] += 1
        if count[0] > 8:
            raise UserError("journal.jsonl: cannot be written (No space left on device)")
        original(self, kind, **fields)

    monkeypatch.setattr(Journal, "append", append)
    with pytest.raises(UserError, match="No space left"):
        run([good(0.7), good(0.8)])
    monkeypatch.setattr(Journal, "append", original)
    policy, _ = run([good(0.7), good(0.8)])
    assert policy.answer().winner == "c1"


def test_an_encoder_is_pretrained_once_for_all_configs_though_its_maker_is_killed(run, tmp_path):
    shared = {"pretraining": "dino", "pretraining_epochs": 3, "pretraining_fault": "kill", "pretraining_seconds": 0.02}
    policy, outcome = run([good(0.70, **shared), good(0.80, **shared), good(0.75)], cpu=0.5)
    assert outcome.reason == "every job is done" and policy.answer().winner == "c1"
    lines = check_journal(tmp_path)
    faults = [line.fields["fold"] for line in lines if line.kind == "fault"]
    assert sorted(faults) == [0, 1], "the first maker of each fold was killed, and nobody else tried to"
    made = [line.fields["fold"] for line in lines if line.kind == "pretraining" and line.fields["made"]]
    assert sorted(made) == [0, 1] and len(list((tmp_path / "pretraining").glob("*/made.json"))) == 2
    logs = [path.read_text() for path in tmp_path.glob("configs/*/fold_*/log.txt")]
    assert sum(log.count("pre-training, epoch") for log in logs) == 2 * 3, "no epoch was repeated"
