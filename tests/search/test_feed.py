"""Out of memory beside others is tried again alone, whoever runs the trials: no Ray, a cluster of a dozen lines."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.feed import Audience, Feed, Settings
from search.journal import Journal, read_journal
from search.run_folder import STOP_FILE
from search.schedulers import SCHEDULERS
from search.study import Study
from search.words import Entrant

FOLDS, STEPS = 2, (1, 2)


class Cluster:
    """Runs what a feed hands out, a report at a time in random order; trials of ``hungry`` configs need what they say
    of a card: out of memory is whoever is held to less."""

    def __init__(self, folder, hungry, configs=3, scheduler="grid", seed=0, **options):
        self.journal = Journal(folder / "journal.jsonl")
        policy = SCHEDULERS[scheduler]([], FOLDS)
        study = Study(policy, self.journal)
        study.begin()
        for k in range(configs):
            study.add(Entrant(f"c{k}", STEPS))
        options = {"gpus": 0.25, "slots": 4, "memory": 0.25, **options}
        self.feed = Feed(
            study, {f"c{k}": {} for k in range(configs)}, Settings(folder, {}, **options), Audience(self.hear)
        )
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
    assert not cluster.policy.board.failed and cluster.policy.board.complete("c1")
    assert sorted(cluster.alone) == [("c1", 0), ("c1", 1)]
    told = faults(tmp_path)
    assert [(fault["config"], fault["fold"]) for fault in told] == cluster.alone
    assert "out of memory on cuda:0 after step 0, beside others: it is tried again alone" in told[0]["fault"]


def test_what_runs_out_of_memory_alone_fails_its_config_and_no_other(tmp_path):
    cluster = Cluster(tmp_path, {"c1": 1.1})
    cluster.run()
    assert set(cluster.policy.board.failed) == {"c1"}
    assert all(cluster.policy.board.complete(config) for config in ("c0", "c2"))
    assert "out_of_memory" in (tmp_path / "configs/c1" / f"fold_{cluster.alone[0][1]}" / "error.txt").read_text()


@pytest.mark.parametrize("whole", [{"gpus": 1.0, "slots": 2}, {"gpus": 2.0, "slots": 2}, {"gpus": 0.0, "slots": 1}])
def test_whoever_has_a_device_to_itself_is_not_tried_again(tmp_path, whole):
    cluster = Cluster(tmp_path, {"c1": 0.6}, **whole)
    cluster.run()
    assert set(cluster.policy.board.failed) == {"c1"} and not cluster.alone


def test_cores_share_the_memory_of_their_machine(tmp_path):
    cluster = Cluster(tmp_path, {"c1": 0.6}, gpus=0.0, slots=2)
    cluster.run()
    assert not cluster.policy.board.failed and cluster.alone


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
    assert not cluster.policy.board.out
    lost = [line.fields for line in read_journal(tmp_path / "journal.jsonl") if line.kind == "lost"]
    assert {"config": "c0", "fold": 0, "fault": "stopped"} in lost


def test_a_budget_of_trials_counts_the_second_try_as_the_same_trial(tmp_path):
    cluster = Cluster(tmp_path, {"c0": 0.6}, trials=1)
    assert cluster.run().budget_spent
    assert cluster.alone == [("c0", 0)] and cluster.policy.board.full("c0", 0) == 0.5


def test_one_that_crashes_while_it_is_alone_stays_alone(tmp_path):
    cluster = Cluster(tmp_path, {"c0": 0.6}, configs=1)
    with cluster.journal:
        cluster.start()
        first, second = cluster.out
        cluster.feed.result(first, cluster.result(first))
        del cluster.out[first]
        cluster.feed.failed_for_good(second, "RuntimeError")
        del cluster.out[second]
        assert cluster.start() and cluster.alone == [("c0", 0)]
        (alone,) = cluster.out
        cluster.feed.recovers(alone, "the worker died")
        assert cluster.feed.next("t99") is None, "it is still alone"
        out_of_memory = {"failed": "out_of_memory", "message": "out of memory"}
        assert not cluster.feed.result(alone, out_of_memory) and not cluster.feed.crowded, "this one counts"


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
    assert not cluster.policy.board.out and not cluster.feed.crowded
    hopeless = {config for config, need in hungry.items() if need > 1}
    assert set(cluster.policy.board.failed) <= hopeless
    assert scheduler != "grid" or set(cluster.policy.board.failed) == hopeless
