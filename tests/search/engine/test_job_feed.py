"""The job feed on a fake cluster without Ray: memory, lost nodes, start failures and budgets."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled_run import space, tpe

from search.engine.failure_limits import Failure
from search.engine.job_feed import NODE_LEFT, JobFeed
from search.engine.listeners import Listeners
from search.engine.settings import EngineSettings
from search.messages import Entrant
from search.policies.registry import SCHEDULERS
from search.runs.journal import Journal, read_journal
from search.runs.run_folder import STOP_FILE
from search.runs.study import Study, replay_lines
from search.samplers.growing_study import GrowingStudy
from search.samplers.proposals import RandomProposals
from trainable.errors import UserError
from trainable.machine.allotment import Allotment

FOLDS, STEPS = 2, (1, 2)


class Cluster:
    """Runs the jobs of a feed, one report at a time in random order. ``memory_needs`` is the share of a GPU's memory
    that a config needs: its trials run out of memory with less."""

    def __init__(
        self, folder, memory_needs, configs=3, scheduler="grid", seed=0, allotments=None, proposals=None, **options
    ):
        self.journal = Journal(folder / "journal.jsonl")
        policy = SCHEDULERS[scheduler]([], FOLDS)
        values = {} if proposals else {f"c{k}": {} for k in range(configs)}
        study = Study(policy, self.journal)
        if proposals:
            study = GrowingStudy(policy, self.journal, proposals, lambda point: values.update({point.id: {}}))
        study.begin()
        for config in values:
            study.add(Entrant(config, STEPS))
        allotments = allotments or [Allotment(1.0, 0.25, 4, 0.25)]
        self.allotments = allotments
        listeners = Listeners(self.record_event)
        self.feed = JobFeed(study, values, EngineSettings(folder, {}, **options), lambda: self.allotments, listeners)
        self.policy, self.memory_needs, self.rng = policy, memory_needs, random.Random(seed)
        self.running, self.steps, self.events, self.alone = {}, {}, [], []

    def record_event(self, event, facts):
        self.events.append((event, facts))

    def start(self):
        """Ask for trials until none is available; returns False once none will follow."""
        while True:
            trial = f"t{len(self.events)}"
            job = self.feed.next(trial)
            if job is None or job == "FINISHED":
                return job is None
            self.running[trial] = job
            if job["alone"]:
                self.alone.append((job["config_id"], job["fold"]))
            assert len(self.running) == 1 or not any(job["alone"] for job in self.running.values())

    def result(self, trial):
        job = self.running[trial]
        cell = (job["config_id"], job["fold"])
        if job["memory"] < self.memory_needs.get(cell[0], 0.0):
            return {"failed": "out_of_memory", "message": "out of memory on cuda:0 after step 0"}
        self.steps[cell] = self.steps.get(cell, 0) + 1
        return {"step": self.steps[cell], "score": 0.5, "seconds": 1.0}

    def run(self):
        with self.journal:
            for _ in range(1000):
                if not self.start():
                    return self.feed.ending.outcome
                assert self.running, "nothing runs and no job is handed out"
                trial = self.rng.choice(list(self.running))
                if not self.feed.result(trial, self.result(trial)):
                    del self.running[trial]
        raise AssertionError("the run does not end")


def faults(folder):
    return [line.fields for line in read_journal(folder / "journal.jsonl") if line.kind == "fault"]


def test_out_of_memory_on_a_shared_device_is_retried_alone(tmp_path):
    cluster = Cluster(tmp_path, {"c1": 0.6})
    assert cluster.run().reason == "every job is done"
    assert not cluster.policy.score_table.failed and cluster.policy.score_table.complete("c1")
    assert sorted(cluster.alone) == [("c1", 0), ("c1", 1)]
    found = faults(tmp_path)
    assert [(fault["config"], fault["fold"]) for fault in found] == cluster.alone
    assert found[0]["fault"] == "out of memory on cuda:0 after step 0 while other jobs were running: retried alone"


@pytest.mark.parametrize(
    ("allotment", "spent"),
    [
        (Allotment(1.0, 0.25, 4, 0.25), 4 * 0.25 + 2 * 1.0),  # both folds of c1 are retried alone, on a whole GPU
        (Allotment(1.0, 1.0, 4), 6.0),
        (Allotment(1.0, 2.0, 4), 12.0),
        (Allotment(1.0, 0.0, 2), 6.0),
    ],
)
def test_gpu_seconds_count_the_gpu_share_of_the_fold_trial(tmp_path, allotment, spent):
    cluster = Cluster(tmp_path, {"c1": 0.6}, allotments=[allotment])
    cluster.run()
    assert cluster.policy.score_table.spent == pytest.approx(spent)
    assert cluster.policy.score_table.seconds("c0", 0) == 1.0
    replayed = SCHEDULERS["grid"]([], FOLDS)
    replay_lines(replayed, read_journal(tmp_path / "journal.jsonl"))
    assert replayed.score_table.spent == cluster.policy.score_table.spent


def test_out_of_memory_while_alone_fails_only_that_config(tmp_path):
    cluster = Cluster(tmp_path, {"c1": 1.1})
    cluster.run()
    assert set(cluster.policy.score_table.failed) == {"c1"}
    assert all(cluster.policy.score_table.complete(config) for config in ("c0", "c2"))
    assert "out_of_memory" in (tmp_path / "configs/c1" / f"fold_{cluster.alone[0][1]}" / "error.txt").read_text()


@pytest.mark.parametrize("whole", [Allotment(1.0, 1.0, 2), Allotment(1.0, 2.0, 2), Allotment(1.0, 0.0, 1)])
def test_out_of_memory_on_a_device_of_its_own_is_not_retried(tmp_path, whole):
    cluster = Cluster(tmp_path, {"c1": 0.6}, allotments=[replace(whole, memory=0.25)])
    cluster.run()
    assert set(cluster.policy.score_table.failed) == {"c1"} and not cluster.alone


def test_fold_trials_on_cores_share_the_memory_of_their_node(tmp_path):
    cluster = Cluster(tmp_path, {"c1": 0.6}, allotments=[Allotment(1.0, 0.0, 2, 0.25)])
    cluster.run()
    assert not cluster.policy.score_table.failed and cluster.alone


def test_a_waiting_exclusive_retry_is_given_back_when_the_run_ends(tmp_path):
    cluster = Cluster(tmp_path, {"c0": 0.6})
    with cluster.journal:
        assert cluster.start()
        first, *others = cluster.running
        assert not cluster.feed.result(first, cluster.result(first)) and cluster.start() and len(others) == 3
        assert cluster.feed.exclusive_retries, "it waits while the others are running"
        (tmp_path / STOP_FILE).touch()
        for trial in others:
            assert not cluster.feed.result(trial, cluster.result(trial))
        assert cluster.feed.next("t99") == "FINISHED" and cluster.feed.ending.outcome.interrupted
    assert not cluster.policy.score_table.outstanding
    lost = [line.fields for line in read_journal(tmp_path / "journal.jsonl") if line.kind == "lost"]
    assert {"config": "c0", "fold": 0, "fault": "stopped"} in lost


def test_a_retry_counts_as_the_same_trial_of_the_budget(tmp_path):
    cluster = Cluster(tmp_path, {"c0": 0.6}, trials=1)
    outcome = cluster.run()
    assert outcome.budget_spent and outcome.override == "budget.trials=2"
    assert outcome.reason == "the budget of 1 fold trial is spent"
    assert cluster.alone == [("c0", 0)] and cluster.policy.score_table.full("c0", 0) == 0.5


def test_once_the_budget_of_trials_is_spent_paused_ones_stay_paused(tmp_path):
    cluster = Cluster(tmp_path, {}, scheduler="foldrace", trials=3)
    assert cluster.run().reason == "the budget of 3 fold trials is spent"
    assert cluster.steps == {("c0", 0): 1, ("c1", 0): 1, ("c2", 0): 1}, "the first rung"


def test_an_exclusive_job_that_crashes_is_retried_alone(tmp_path):
    cluster = Cluster(tmp_path, {"c0": 0.6}, configs=1)
    with cluster.journal:
        cluster.start()
        first, second = cluster.running
        cluster.feed.result(first, cluster.result(first))
        del cluster.running[first]
        cluster.feed.worker_failed(second, "RuntimeError", Failure.CRASHED)
        del cluster.running[second]
        assert cluster.start() and cluster.alone == [("c0", 0)]
        (alone,) = cluster.running
        cluster.feed.worker_failed(alone, "the worker died", Failure.CRASHED)
        del cluster.running[alone]
        assert cluster.start() and cluster.alone == [("c0", 0)] * 2
        (again,) = cluster.running
        assert not cluster.feed.result(again, {"failed": "out_of_memory", "message": "out of memory"})
        assert set(cluster.policy.score_table.failed) == {"c0"}, "out of memory while alone counts"


def test_a_worker_killed_for_lack_of_memory_on_its_node_is_retried_alone_before_it_fails(tmp_path):
    cluster = Cluster(tmp_path, {}, configs=1, retries=0, allotments=[Allotment(1.0, 1.0, 2)])
    with cluster.journal:
        cluster.start()
        first, second = cluster.running
        job = cluster.running.pop(first)
        cluster.feed.worker_failed(first, "Memory on the node was 0.95\nRay killed this worker", Failure.OUT_OF_MEMORY)
        assert cluster.start() and list(cluster.running) == [second], "no new job starts"
        while cluster.feed.result(second, cluster.result(second)):
            pass
        del cluster.running[second]
        assert cluster.start() and cluster.alone == [("c0", job["fold"])]
        (alone,) = cluster.running
        cluster.feed.worker_failed(alone, "Memory on the node was 0.95\nRay killed this worker", Failure.OUT_OF_MEMORY)
    assert set(cluster.policy.score_table.failed) == {"c0"}
    assert [fault["fault"] for fault in faults(tmp_path)] == [
        "its node ran out of memory while other jobs were running: retried alone",
        "out_of_memory: its node ran out of memory",
    ]
    error = (tmp_path / "configs/c0" / f"fold_{job['fold']}" / "error.txt").read_text()
    assert error.startswith("out_of_memory: Memory on the node was 0.95")


def test_a_lost_node_is_no_failure_and_its_jobs_are_handed_out_first(tmp_path):
    cluster = Cluster(tmp_path, {}, retries=0)
    with cluster.journal:
        cluster.start()
        first, *_ = cluster.running
        for _ in range(3):
            lost = cluster.running.pop(first)
            cluster.feed.worker_failed(first, "The actor is unavailable", Failure.NODE_LOST)
            cluster.start()
            first = next(reversed(cluster.running))
            assert (cluster.running[first]["config_id"], cluster.running[first]["fold"]) == (
                lost["config_id"],
                lost["fold"],
            )
    assert not cluster.policy.score_table.failed
    assert [fault["fault"] for fault in faults(tmp_path)] == [NODE_LEFT] * 3


def test_a_fold_trial_that_takes_down_every_node_fails_in_the_end(tmp_path):
    cluster = Cluster(tmp_path, {}, configs=1, retries=0)
    with cluster.journal:
        for count in range(11):
            cluster.start()
            trial = next(trial for trial, job in cluster.running.items() if job["fold"] == 0)
            del cluster.running[trial]
            assert not cluster.policy.score_table.failed, count
            cluster.feed.worker_failed(trial, "The actor is unavailable", Failure.NODE_LOST)
    assert set(cluster.policy.score_table.failed) == {"c0"}


def test_a_job_waiting_for_a_gpu_kind_that_is_gone_moves_to_another_kind(tmp_path):
    cluster = Cluster(tmp_path, {}, allotments=[Allotment(kind="A100"), Allotment(kind="T4")])
    with cluster.journal:
        cluster.start()
        first, second = cluster.running
        assert not cluster.feed.requeue_stranded(second)
        cluster.allotments = []
        assert not cluster.feed.requeue_stranded(second), "without any node the trial keeps waiting"
        cluster.allotments = [Allotment(kind="A100", slots=2)]
        assert not cluster.feed.requeue_stranded(first) and cluster.feed.requeue_stranded(second)
        cell = cluster.running[second]["config_id"], cluster.running[second]["fold"]
        cluster.start()
        job = list(cluster.running.values())[-1]
        assert (job["kind"], job["config_id"], job["fold"]) == ("A100", *cell)
    assert not cluster.policy.score_table.failed and not faults(tmp_path)


def test_a_job_that_avoids_a_node_no_longer_excluded_is_handed_out_again(tmp_path):
    cluster = Cluster(tmp_path, {}, allotments=[Allotment(avoid=("second",))])
    with cluster.journal:
        cluster.start()
        (trial,) = cluster.running
        assert cluster.running[trial]["avoid"] == ["second"]
        cluster.allotments = [Allotment(avoid=("second", "third"))]
        assert not cluster.feed.requeue_stranded(trial)
        cluster.allotments = [Allotment(avoid=("third",))]
        assert cluster.feed.requeue_stranded(trial), "the second node may be the only one with a free slot"
        cluster.start()
        assert list(cluster.running.values())[-1]["avoid"] == ["third"]
    assert not faults(tmp_path)


def test_a_job_refused_by_a_node_moves_to_another_without_a_fault(tmp_path):
    cluster = Cluster(tmp_path, {}, configs=1, retries=0)
    with cluster.journal:
        for _ in range(20):
            cluster.start()
            trial, job = cluster.running.popitem()
            cluster.feed.worker_failed(trial, "WrongMachine: does not see the run", Failure.WRONG_NODE)
            assert cluster.events[-1] == (
                "lost",
                {"config": "c0", "fold": job["fold"], "fault": "WrongMachine: does not see the run"},
            )
        assert cluster.start() and not cluster.policy.score_table.failed
    kinds = [line.kind for line in read_journal(tmp_path / "journal.jsonl")]
    assert kinds.count("job") == 2 and not {"fault", "lost"} & set(kinds), "the job stayed handed out"


def test_start_failures_end_the_run_instead_of_failing_configs(tmp_path):
    cluster = Cluster(tmp_path, {})
    with cluster.journal:
        for _ in range(5):
            cluster.start()
            trial = next(iter(cluster.running))
            del cluster.running[trial]
            cluster.feed.worker_failed(trial, "No module named 'trainable'", Failure.NOT_STARTED)
        assert not cluster.start()
    with pytest.raises(UserError, match=r"5 workers in a row could not be started.*No module named 'trainable'"):
        cluster.feed.ending.raise_error()
    assert not cluster.policy.score_table.failed


def test_start_failures_of_one_fold_trial_end_the_run_even_if_others_report(tmp_path):
    cluster = Cluster(tmp_path, {}, retries=0)
    with cluster.journal:
        for _ in range(5):
            assert cluster.start() and not cluster.policy.score_table.failed
            cells = {(job["config_id"], job["fold"]): trial for trial, job in cluster.running.items()}
            unlucky = cells.pop(("c0", 0))
            other = next(iter(cells.values()))
            if not cluster.feed.result(other, cluster.result(other)):
                del cluster.running[other]
            del cluster.running[unlucky]
            cluster.feed.worker_failed(unlucky, "No space left on device", Failure.NOT_STARTED)
    with pytest.raises(UserError, match=r"5 workers in a row could not be started.*No space left"):
        cluster.feed.ending.raise_error()


def test_jobs_go_to_free_slots_while_nodes_join_and_leave(tmp_path):
    cluster = Cluster(tmp_path, {}, allotments=[Allotment(2.0, 0.5, 2, 0.5, "A100"), Allotment(1.0, 1.0, 1, 1.0, "T4")])
    with cluster.journal:
        cluster.start()
        handed_out = [(job["kind"], job["gpus"], job["cpus"], job["memory"]) for job in cluster.running.values()]
        assert handed_out == [("A100", 0.5, 2.0, 0.5)] * 2 + [("T4", 1.0, 1.0, 1.0)]
        cluster.allotments = []
        trial = next(iter(cluster.running))
        while cluster.feed.result(trial, cluster.result(trial)):
            pass
        del cluster.running[trial]
        assert cluster.start() and len(cluster.running) == 2 and cluster.feed.has_more_jobs
        cluster.allotments = [Allotment(2.0, 0.5, 4, 0.5, "A100")]
        assert cluster.start() and len(cluster.running) == 5, "4 on A100, and the one on T4 keeps running"


def test_machines_are_requested_for_configs_that_are_still_to_be_proposed(tmp_path):
    proposals = RandomProposals(space(sampler=tpe(3)), seed=0, count=3)
    proposals.ignores_scores = False
    cluster = Cluster(tmp_path, {}, scheduler="foldrace", proposals=proposals, allotments=[Allotment(1.0, 0.0, 1)])
    with cluster.journal:
        assert cluster.start() and len(cluster.running) == 1 and cluster.feed.has_more_jobs
        cluster.allotments = [Allotment(1.0, 0.0, 4)]
        assert cluster.start() and len(cluster.running) == 3 and not cluster.feed.has_more_jobs


def test_no_machines_are_requested_once_a_budget_is_spent(tmp_path):
    cluster = Cluster(tmp_path, {}, allotments=[Allotment(1.0, 0.0, 1)], trials=2)
    with cluster.journal:
        assert cluster.start() and cluster.feed.has_more_jobs
        cluster.policy.score_table.budget = 0.0
        assert not cluster.feed.has_more_jobs
        cluster.policy.score_table.budget = None
        cluster.allotments = [Allotment(1.0, 0.0, 2)]
        assert cluster.start() and len(cluster.running) == 2 and not cluster.feed.has_more_jobs


@settings(max_examples=60)
@given(
    needs=st.lists(st.sampled_from([0.0, 0.6, 1.1]), min_size=1, max_size=6),
    scheduler=st.sampled_from(sorted(SCHEDULERS)),
    seed=st.integers(0, 1000),
)
def test_every_run_ends_whichever_configs_run_out_of_memory(tmp_path_factory, needs, scheduler, seed):
    folder = tmp_path_factory.mktemp("run")
    memory_needs = {f"c{k}": need for k, need in enumerate(needs)}
    cluster = Cluster(folder, memory_needs, len(needs), scheduler, seed)
    assert cluster.run().reason == "every job is done"
    assert not cluster.policy.score_table.outstanding and not cluster.feed.exclusive_retries
    hopeless = {config for config, need in memory_needs.items() if need > 1}
    assert set(cluster.policy.score_table.failed) <= hopeless
    assert scheduler != "grid" or set(cluster.policy.score_table.failed) == hopeless
