"""Out of memory beside others is tried again alone, whoever runs the trials: no Ray, a cluster of a dozen lines."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.engine.failure_limits import Failure
from search.engine.job_feed import EngineSettings, JobFeed
from search.engine.listeners import Listeners
from search.messages import Entrant
from search.policies.registry import SCHEDULERS
from search.runs.journal import Journal, read_journal
from search.runs.run_folder import STOP_FILE
from search.runs.study import Study, replay_lines
from trainable.errors import UserError
from trainable.machine.allotment import Share

FOLDS, STEPS = 2, (1, 2)


class Cluster:
    """Runs what a feed hands out, a report at a time in random order; trials of ``hungry`` configs need what they say
    of a card: out of memory is whoever is held to less."""

    def __init__(self, folder, hungry, configs=3, scheduler="grid", seed=0, shares=None, **options):
        self.journal = Journal(folder / "journal.jsonl")
        policy = SCHEDULERS[scheduler]([], FOLDS)
        study = Study(policy, self.journal)
        study.begin()
        for k in range(configs):
            study.add(Entrant(f"c{k}", STEPS))
        shares = shares or [Share(1.0, 0.25, 4, 0.25)]
        values = {f"c{k}": {} for k in range(configs)}
        self.shares = shares
        listeners = Listeners(self.hear)
        self.feed = JobFeed(study, values, EngineSettings(folder, {}, **options), lambda: self.shares, listeners)
        self.policy, self.hungry, self.rng = policy, hungry, random.Random(seed)
        self.out, self.steps, self.heard, self.alone = {}, {}, [], []

    def hear(self, event, facts):
        self.heard.append((event, facts))

    def start(self):
        """Ask for trials until there is none for now; false once there never will be."""
        while True:
            number = f"t{len(self.heard)}"
            job = self.feed.next(number)
            if job is None or job == "FINISHED":
                return job is None
            self.out[number] = job
            if job["alone"]:
                self.alone.append((job["config_id"], job["fold"]))
            assert len(self.out) == 1 or not any(job["alone"] for job in self.out.values()), "not alone"

    def result(self, trial):
        job = self.out[trial]
        cell = (job["config_id"], job["fold"])
        if job["memory"] < self.hungry.get(cell[0], 0.0):
            return {"failed": "out_of_memory", "message": "out of memory on cuda:0 after step 0"}
        self.steps[cell] = self.steps.get(cell, 0) + 1
        return {"step": self.steps[cell], "score": 0.5, "seconds": 1.0}

    def run(self):
        with self.journal:
            for _ in range(1000):
                if not self.start():
                    return self.feed.outcome
                assert self.out, "nobody runs and nothing is handed out"
                trial = self.rng.choice(list(self.out))
                if not self.feed.result(trial, self.result(trial)):
                    del self.out[trial]
        raise AssertionError("does not end")


def faults(folder):
    return [line.fields for line in read_journal(folder / "journal.jsonl") if line.kind == "fault"]


def test_what_runs_out_of_memory_beside_others_is_tried_again_alone(tmp_path):
    cluster = Cluster(tmp_path, {"c1": 0.6})
    assert cluster.run().reason == "every job is done"
    assert not cluster.policy.score_table.failed and cluster.policy.score_table.complete("c1")
    assert sorted(cluster.alone) == [("c1", 0), ("c1", 1)]
    told = faults(tmp_path)
    assert [(fault["config"], fault["fold"]) for fault in told] == cluster.alone
    assert "out of memory on cuda:0 after step 0, beside others: it is tried again alone" in told[0]["fault"]


@pytest.mark.parametrize(
    ("share", "spent"),
    [
        (Share(1.0, 0.25, 4, 0.25), 4 * 0.25 + 2 * 1.0),  # the two folds of c1 end up alone, on a whole GPU
        (Share(1.0, 1.0, 4), 6.0),
        (Share(1.0, 2.0, 4), 12.0),
        (Share(1.0, 0.0, 2), 6.0),
    ],
)
def test_a_second_costs_as_much_of_a_gpu_as_the_fold_trial_had(tmp_path, share, spent):
    cluster = Cluster(tmp_path, {"c1": 0.6}, shares=[share])
    cluster.run()
    assert cluster.policy.score_table.spent == pytest.approx(spent)
    assert cluster.policy.score_table.seconds("c0", 0) == 1.0
    again = SCHEDULERS["grid"]([], FOLDS)
    replay_lines(again, read_journal(tmp_path / "journal.jsonl"))
    assert again.score_table.spent == cluster.policy.score_table.spent


def test_what_runs_out_of_memory_alone_fails_its_config_and_no_other(tmp_path):
    cluster = Cluster(tmp_path, {"c1": 1.1})
    cluster.run()
    assert set(cluster.policy.score_table.failed) == {"c1"}
    assert all(cluster.policy.score_table.complete(config) for config in ("c0", "c2"))
    assert "out_of_memory" in (tmp_path / "configs/c1" / f"fold_{cluster.alone[0][1]}" / "error.txt").read_text()


@pytest.mark.parametrize("whole", [Share(1.0, 1.0, 2), Share(1.0, 2.0, 2), Share(1.0, 0.0, 1)])
def test_whoever_has_a_device_to_itself_is_not_tried_again(tmp_path, whole):
    cluster = Cluster(tmp_path, {"c1": 0.6}, shares=[replace(whole, memory=0.25)])
    cluster.run()
    assert set(cluster.policy.score_table.failed) == {"c1"} and not cluster.alone


def test_cores_share_the_memory_of_their_machine(tmp_path):
    cluster = Cluster(tmp_path, {"c1": 0.6}, shares=[Share(1.0, 0.0, 2, 0.25)])
    cluster.run()
    assert not cluster.policy.score_table.failed and cluster.alone


def test_one_that_waits_to_be_alone_is_given_back_when_the_run_ends(tmp_path):
    cluster = Cluster(tmp_path, {"c0": 0.6})
    with cluster.journal:
        assert cluster.start()
        first, *others = cluster.out
        assert not cluster.feed.result(first, cluster.result(first)) and cluster.start() and len(others) == 3
        assert cluster.feed.crowded, "the others are still out, so it waits"
        (tmp_path / STOP_FILE).touch()
        for trial in others:
            assert not cluster.feed.result(trial, cluster.result(trial))
        assert cluster.feed.next("t99") == "FINISHED" and cluster.feed.outcome.interrupted
    assert not cluster.policy.score_table.out
    lost = [line.fields for line in read_journal(tmp_path / "journal.jsonl") if line.kind == "lost"]
    assert {"config": "c0", "fold": 0, "fault": "stopped"} in lost


def test_a_budget_of_trials_counts_the_second_try_as_the_same_trial(tmp_path):
    cluster = Cluster(tmp_path, {"c0": 0.6}, trials=1)
    assert cluster.run().budget_spent
    assert cluster.alone == [("c0", 0)] and cluster.policy.score_table.full("c0", 0) == 0.5


def test_one_that_crashes_while_it_is_alone_stays_alone(tmp_path):
    cluster = Cluster(tmp_path, {"c0": 0.6}, configs=1)
    with cluster.journal:
        cluster.start()
        first, second = cluster.out
        cluster.feed.result(first, cluster.result(first))
        del cluster.out[first]
        cluster.feed.worker_failed(second, "RuntimeError", Failure.CRASHED)
        del cluster.out[second]
        assert cluster.start() and cluster.alone == [("c0", 0)]
        (alone,) = cluster.out
        cluster.feed.worker_failed(alone, "the worker died", Failure.CRASHED)
        del cluster.out[alone]
        assert cluster.start() and cluster.alone == [("c0", 0)] * 2
        (again,) = cluster.out
        assert not cluster.feed.result(again, {"failed": "out_of_memory", "message": "out of memory"})
        assert set(cluster.policy.score_table.failed) == {"c0"}, "this one counts"


def test_a_worker_that_its_machine_had_no_memory_for_is_tried_again_alone_and_only_then_given_up(tmp_path):
    cluster = Cluster(tmp_path, {}, configs=1, retries=0, shares=[Share(1.0, 1.0, 2)])
    with cluster.journal:
        cluster.start()
        first, second = cluster.out
        job = cluster.out.pop(first)
        cluster.feed.worker_failed(first, "Memory on the node was 0.95\nRay killed this worker", Failure.OUT_OF_MEMORY)
        assert cluster.start() and list(cluster.out) == [second], "nobody new is let in"
        while cluster.feed.result(second, cluster.result(second)):
            pass
        del cluster.out[second]
        assert cluster.start() and cluster.alone == [("c0", job["fold"])]
        (alone,) = cluster.out
        cluster.feed.worker_failed(alone, "Memory on the node was 0.95\nRay killed this worker", Failure.OUT_OF_MEMORY)
    assert set(cluster.policy.score_table.failed) == {"c0"}
    assert [fault["fault"] for fault in faults(tmp_path)] == [
        "its machine ran out of memory, beside others: it is tried again alone",
        "out_of_memory: its machine ran out of memory",
    ]
    error = (tmp_path / "configs/c0" / f"fold_{job['fold']}" / "error.txt").read_text()
    assert error.startswith("out_of_memory: Memory on the node was 0.95")


def test_a_machine_that_leaves_is_no_failure_and_its_fold_trials_go_on_first(tmp_path):
    cluster = Cluster(tmp_path, {}, retries=0)
    with cluster.journal:
        cluster.start()
        first, *_ = cluster.out
        for _ in range(3):
            gone = cluster.out.pop(first)
            cluster.feed.worker_failed(first, "The actor is unavailable", Failure.NODE_LOST)
            cluster.start()
            first = next(reversed(cluster.out))
            assert (cluster.out[first]["config_id"], cluster.out[first]["fold"]) == (gone["config_id"], gone["fold"])
    assert not cluster.policy.score_table.failed
    assert [fault["fault"] for fault in faults(tmp_path)] == ["its machine left the cluster"] * 3


def test_one_that_takes_down_every_machine_it_comes_to_ends_some_day(tmp_path):
    cluster = Cluster(tmp_path, {}, configs=1, retries=0)
    with cluster.journal:
        for count in range(11):
            cluster.start()
            trial = next(trial for trial, job in cluster.out.items() if job["fold"] == 0)
            del cluster.out[trial]
            assert not cluster.policy.score_table.failed, count
            cluster.feed.worker_failed(trial, "The actor is unavailable", Failure.NODE_LOST)
    assert set(cluster.policy.score_table.failed) == {"c0"}


def test_what_waits_for_a_kind_of_machine_that_is_gone_goes_to_another(tmp_path):
    cluster = Cluster(tmp_path, {}, shares=[Share(kind="A100"), Share(kind="T4")])
    with cluster.journal:
        cluster.start()
        first, second = cluster.out
        assert not cluster.feed.requeue_stranded(second)
        cluster.shares = []
        assert not cluster.feed.requeue_stranded(second), "nothing is there now, and anything may come"
        cluster.shares = [Share(kind="A100", slots=2)]
        assert not cluster.feed.requeue_stranded(first) and cluster.feed.requeue_stranded(second)
        cell = cluster.out[second]["config_id"], cluster.out[second]["fold"]
        cluster.start()
        job = list(cluster.out.values())[-1]
        assert (job["kind"], job["config_id"], job["fold"]) == ("A100", *cell)
    assert not cluster.policy.score_table.failed and not faults(tmp_path)


def test_what_avoids_a_node_that_is_left_out_no_more_is_handed_out_anew(tmp_path):
    cluster = Cluster(tmp_path, {}, shares=[Share(avoid=("second",))])
    with cluster.journal:
        cluster.start()
        (trial,) = cluster.out
        assert cluster.out[trial]["avoid"] == ["second"]
        cluster.shares = [Share(avoid=("second", "third"))]
        assert not cluster.feed.requeue_stranded(trial)
        cluster.shares = [Share(avoid=("third",))]
        assert cluster.feed.requeue_stranded(trial), "the second may be the only one that has room"
        cluster.start()
        assert list(cluster.out.values())[-1]["avoid"] == ["third"]
    assert not faults(tmp_path)


def test_a_job_that_a_machine_refused_goes_to_another_and_is_held_against_nobody(tmp_path):
    cluster = Cluster(tmp_path, {}, configs=1, retries=0)
    with cluster.journal:
        for _ in range(20):
            cluster.start()
            trial, job = cluster.out.popitem()
            cluster.feed.worker_failed(trial, "WrongMachine: does not see the run", Failure.WRONG_NODE)
            assert cluster.heard[-1] == (
                "lost",
                {"config": "c0", "fold": job["fold"], "fault": "WrongMachine: does not see the run"},
            )
        assert cluster.start() and not cluster.policy.score_table.failed
    kinds = [line.kind for line in read_journal(tmp_path / "journal.jsonl")]
    assert kinds.count("job") == 2 and not {"fault", "lost"} & set(kinds), "it was out all the time"


def test_workers_that_cannot_be_started_end_the_run_not_its_configs(tmp_path):
    cluster = Cluster(tmp_path, {})
    with cluster.journal:
        for _ in range(5):
            cluster.start()
            trial = next(iter(cluster.out))
            del cluster.out[trial]
            cluster.feed.worker_failed(trial, "No module named 'trainable'", Failure.NOT_STARTED)
        assert not cluster.start()
    with pytest.raises(UserError, match=r"5 workers in a row could not be started.*No module named 'trainable'"):
        cluster.feed.raise_if_broken()
    assert not cluster.policy.score_table.failed


def test_a_machine_that_starts_no_worker_ends_the_run_although_others_do(tmp_path):
    cluster = Cluster(tmp_path, {}, retries=0)
    with cluster.journal:
        for _ in range(5):
            assert cluster.start() and not cluster.policy.score_table.failed
            cells = {(job["config_id"], job["fold"]): trial for trial, job in cluster.out.items()}
            unlucky = cells.pop(("c0", 0))
            other = next(iter(cells.values()))
            if not cluster.feed.result(other, cluster.result(other)):
                del cluster.out[other]
            del cluster.out[unlucky]
            cluster.feed.worker_failed(unlucky, "No space left on device", Failure.NOT_STARTED)
    with pytest.raises(UserError, match=r"5 workers in a row could not be started.*No space left"):
        cluster.feed.raise_if_broken()


def test_jobs_go_where_there_is_room_and_machines_may_come_and_go(tmp_path):
    cluster = Cluster(tmp_path, {}, shares=[Share(2.0, 0.5, 2, 0.5, "A100"), Share(1.0, 1.0, 1, 1.0, "T4")])
    with cluster.journal:
        cluster.start()
        told = [(job["kind"], job["gpus"], job["cpus"], job["memory"]) for job in cluster.out.values()]
        assert told == [("A100", 0.5, 2.0, 0.5)] * 2 + [("T4", 1.0, 1.0, 1.0)]
        cluster.shares = []
        trial = next(iter(cluster.out))
        while cluster.feed.result(trial, cluster.result(trial)):
            pass
        del cluster.out[trial]
        assert cluster.start() and len(cluster.out) == 2 and cluster.feed.has_more_jobs
        cluster.shares = [Share(2.0, 0.5, 4, 0.5, "A100")]
        assert cluster.start() and len(cluster.out) == 5, "one of A100 is out, three come; the one of T4 goes on"


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    needs=st.lists(st.sampled_from([0.0, 0.6, 1.1]), min_size=1, max_size=6),
    scheduler=st.sampled_from(sorted(SCHEDULERS)),
    seed=st.integers(0, 1000),
)
def test_whatever_runs_out_of_memory_every_run_ends_and_each_try_is_alone(tmp_path_factory, needs, scheduler, seed):
    folder = tmp_path_factory.mktemp("run")
    hungry = {f"c{k}": need for k, need in enumerate(needs)}
    cluster = Cluster(folder, hungry, len(needs), scheduler, seed)
    assert cluster.run().reason == "every job is done"
    assert not cluster.policy.score_table.out and not cluster.feed.crowded
    hopeless = {config for config, need in hungry.items() if need > 1}
    assert set(cluster.policy.score_table.failed) <= hopeless
    assert scheduler != "grid" or set(cluster.policy.score_table.failed) == hopeless
