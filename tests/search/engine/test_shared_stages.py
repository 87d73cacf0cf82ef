"""Jobs that need what another running job makes: held back without a slot, and handed out when it is there."""

import random
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.engine.failure_limits import Failure
from search.engine.job_feed import JobFeed
from search.engine.listeners import Listeners
from search.engine.settings import EngineSettings
from search.messages import Entrant, Job
from search.policies.registry import SCHEDULERS
from search.runs.fold_states import fold_states
from search.runs.journal import Journal, read_journal
from search.runs.ledger import ledger
from search.runs.run_folder import STOP_FILE
from search.runs.status import Status
from search.runs.study import Study, replay_lines, verdicts
from search.samplers.growing_study import GrowingStudy
from search.terminal.listing import document, summary
from trainable.machine.allotment import Allotment

FOLDS, STEPS, EPOCHS = 2, (1, 2), 3
DINO = {"pretraining": "dino", "learning_rate": 1e-3}
OTHER_DINO = {"pretraining": "dino", "seed": 1}
PLAIN = {"pretraining": "none"}


class Cluster:
    """Runs the jobs of a feed; a job whose product is missing makes it in three epochs of a second.

    The clock of the journal goes a second per record.
    """

    def __init__(self, folder, values, slots=2, scheduler="grid", seed=0, **options):
        self.path, self.scheduler, self.seconds = folder / "journal.jsonl", scheduler, 0.0
        self.journal = Journal(self.path, self.clock)
        self.policy = SCHEDULERS[scheduler]([], FOLDS)
        study = Study(self.policy, self.journal)
        study.begin()
        self.values = {f"c{k}": value for k, value in enumerate(values)}
        for config in self.values:
            study.add(Entrant(config, STEPS))
        self.slots, self.rng = [Allotment(1.0, 0.0, slots)], random.Random(seed)
        listeners = Listeners(lambda event, facts: None)
        self.feed = JobFeed(study, self.values, EngineSettings(folder, {}, **options), lambda: self.slots, listeners)
        self.running, self.made, self.epochs, self.steps, self.count = {}, set(), {}, {}, 0

    def clock(self):
        self.seconds += 1.0
        return self.seconds

    def product(self, job):
        begun = (job["config_id"], job["fold"]) in self.steps
        values = self.values[job["config_id"]]
        return None if begun or values["pretraining"] == "none" else (values.get("seed", 0), job["fold"])

    def start(self):
        """Ask for trials until none is available and return them as (config, fold)."""
        started = []
        while isinstance(job := self.feed.next(f"t{self.count}"), dict):
            missing = self.product(job) if self.product(job) not in self.made else None
            making = {self.product(each) for each in self.running.values()} - self.made
            assert missing is None or missing not in making, "two jobs make the same product"
            self.running[f"t{self.count}"] = job
            started.append((job["config_id"], job["fold"]))
            self.count += 1
        self.finished = job == "FINISHED"
        return started

    def trial(self, config, fold):
        return next(name for name, job in self.running.items() if (job["config_id"], job["fold"]) == (config, fold))

    def advance(self, config, fold, failed=None):
        """The next result of a fold trial."""
        trial = self.trial(config, fold)
        job = self.running[trial]
        product = self.product(job)
        if failed is not None:
            result = {"failed": failed, "message": f"pre-training: {failed}"}
        elif product is None or (trial, "ready") in self.epochs:
            self.steps[config, fold] = self.steps.get((config, fold), 0) + 1
            result = {"step": self.steps[config, fold], "score": 0.5, "seconds": 1.0 * self.steps[config, fold]}
        elif product in self.made:
            self.epochs[trial, "ready"] = True
            result = {"pretraining": {"ready": True, "seconds": 1.0 * self.epochs.get((trial, "epochs"), 0)}}
        else:
            done = self.epochs[product] = self.epochs.get(product, 0) + 1
            here = self.epochs[trial, "epochs"] = self.epochs.get((trial, "epochs"), 0) + 1
            if done == EPOCHS:
                self.made.add(product)
            result = {"pretraining": {"ready": False, "epoch": done, "of": EPOCHS, "seconds": 1.0 * here}}
        if not self.feed.result(trial, result):
            del self.running[trial]

    def finish(self, config, fold):
        while any((job["config_id"], job["fold"]) == (config, fold) for job in self.running.values()):
            self.advance(config, fold)

    def make(self, config, fold):
        """Go on until the product of a fold trial is there for all."""
        for _ in range(EPOCHS + 1):
            self.advance(config, fold)

    def kill(self, config, fold, failure=Failure.CRASHED):
        trial = self.trial(config, fold)
        del self.running[trial]
        self.feed.worker_failed(trial, "the worker died", failure)

    def lines(self):
        return read_journal(self.path)


def test_a_job_whose_product_is_being_made_waits_and_others_take_the_slots(tmp_path):
    cluster = Cluster(tmp_path, [DINO, {**DINO, "learning_rate": 1e-4}, PLAIN], slots=4)
    with cluster.journal:
        assert cluster.start() == [("c0", 0), ("c2", 0), ("c0", 1), ("c2", 1)], "those of c1 are held back"
        assert cluster.start() == []
        cluster.finish("c2", 0)
        assert cluster.start() == [], "c1 still waits, and a held-back job takes no slot"
        states = fold_states(cluster.lines(), driven=True)
        assert states["c1", 0].state == "paused" and "waits for the pre-trained encoder" in states["c1", 0].reason
        cluster.make("c0", 0)
        assert cluster.start() == [("c1", 0)], "at once when its product is there, while c0 trains on"
        assert fold_states(cluster.lines(), driven=True)["c1", 0].state == "running"


def test_products_of_other_hyperparameters_and_other_folds_are_made_at_the_same_time(tmp_path):
    cluster = Cluster(tmp_path, [DINO, OTHER_DINO], slots=4)
    with cluster.journal:
        assert len(cluster.start()) == 4


@pytest.mark.parametrize("end", ["killed", "failed", "node lost"])
def test_if_the_maker_ends_one_of_those_who_wait_takes_its_place(tmp_path, end):
    cluster = Cluster(tmp_path, [DINO, {**DINO, "pc": 1.0}, {**DINO, "pc": 2.0}], slots=3, retries=0)
    with cluster.journal:
        assert cluster.start() == [("c0", 0), ("c0", 1)]
        cluster.advance("c0", 0)
        if end == "failed":
            cluster.advance("c0", 0, failed="collapsed")
        else:
            cluster.kill("c0", 0, Failure.CRASHED if end == "killed" else Failure.NODE_LOST)
        next_maker = {"killed": "c1", "failed": "c1", "node lost": "c0"}[end]  # a lost node is retried first
        assert cluster.start() == [(next_maker, 0)], "one of them, not all"
        cluster.make(next_maker, 0)
        assert cluster.start() == [("c1" if end == "node lost" else "c2", 0)]
    assert ("c0" in cluster.policy.score_table.failed) == (end != "node lost")


def test_a_fold_trial_with_a_checkpoint_waits_for_nothing(tmp_path):
    cluster = Cluster(tmp_path, [DINO, {**DINO, "pc": 1.0}], slots=1)
    with cluster.journal:
        cluster.start()
        cluster.make("c0", 0)
        cluster.advance("c0", 0)
        cluster.kill("c0", 0, Failure.NODE_LOST)
        cluster.slots = [Allotment(1.0, 0.0, 0)]
        cluster.feed.stages.started("another", Job("c1", 0, 2))
        cluster.feed.stages.makers["another"] = next(iter(cluster.feed.stages.made))
        cluster.slots = [Allotment(1.0, 0.0, 2)]
        assert cluster.start() == [("c0", 0), ("c0", 1)], "c0 has reported, c1 waits for the other one"


def test_jobs_of_the_next_fold_start_while_those_of_the_first_are_held_back(tmp_path):
    cluster = Cluster(tmp_path, [{**DINO, "pc": float(k + 1)} for k in range(20)], slots=3)
    with cluster.journal:
        assert cluster.start() == [("c0", 0), ("c0", 1)] and len(cluster.feed.stages.held_back) == 38
        assert not cluster.feed.has_more_jobs, "no machine is requested for jobs that must wait"
        cluster.make("c0", 0)
        assert cluster.feed.has_more_jobs and cluster.start() == [("c1", 0)]


def test_a_sampler_that_learns_from_scores_is_not_asked_far_ahead(tmp_path):
    cluster = Cluster(tmp_path, [{**DINO, "pc": float(k + 1)} for k in range(20)], slots=3)
    asked = []
    proposals = SimpleNamespace(ignores_scores=False, count=0)
    study = GrowingStudy(cluster.policy, cluster.journal, proposals, asked.append)
    cluster.feed.study = cluster.feed.stages.study = study
    with cluster.journal:
        assert cluster.start() == [("c0", 0)] and len(cluster.feed.stages.held_back) == 2 * 3
    proposals.ignores_scores = True
    assert study.look_ahead(3) == 1000


@pytest.mark.parametrize("how", ["stop", "trials"])
def test_what_is_held_back_is_given_back_when_the_run_ends(tmp_path, how):
    cluster = Cluster(tmp_path, [DINO, {**DINO, "pc": 1.0}], slots=4, trials=3 if how == "trials" else None)
    with cluster.journal:
        assert cluster.start() == [("c0", 0), ("c0", 1)] and cluster.feed.stages.held_back
        if how == "stop":
            (tmp_path / STOP_FILE).touch()
            cluster.advance("c0", 0)
            cluster.advance("c0", 1)
        else:
            cluster.finish("c0", 0)
            cluster.finish("c0", 1)
            assert cluster.start() == [("c1", 0)], "it counts as a started trial"
            cluster.finish("c1", 0)
        assert cluster.start() == [] and cluster.finished
    assert not cluster.policy.score_table.outstanding
    if how == "stop":
        spent = [line.fields for line in cluster.lines() if line.kind == "pretraining"]
        assert [(each["config"], each["fold"], each["seconds"], each["made"]) for each in spent] == [
            ("c0", 0, 1.0, False),
            ("c0", 1, 1.0, False),
        ], "an unfinished stage is counted, and resumed by the next launch"


def test_the_seconds_of_a_stage_are_counted_apart_from_those_of_steps(tmp_path):
    cluster = Cluster(tmp_path, [DINO, {**DINO, "pc": 1.0}], slots=2)
    with cluster.journal:
        while cluster.start() or cluster.running:
            job = next(iter(cluster.running.values()))
            cluster.advance(job["config_id"], job["fold"])
    table = cluster.policy.score_table
    assert table.seconds("c0", 0) == 2.0, "two steps of a second"
    assert table.spent == 4 * 2.0 + 2 * EPOCHS
    lines = cluster.lines()
    made = [line.fields for line in lines if line.kind == "pretraining"]
    assert made == [{"config": "c0", "fold": fold, "seconds": 1.0 * EPOCHS, "made": True} for fold in (0, 1)]
    replayed, status = SCHEDULERS["grid"]([], FOLDS), Status(SCHEDULERS["grid"]([], FOLDS))
    replay_lines(replayed, lines)
    for line in lines:
        status.note(line)
    assert replayed.score_table.spent == table.spent and status.workers == 2
    assert document(status)["pretraining"] == {"encoders": 2, "gpu_seconds": 2.0 * EPOCHS}
    assert "14 s, 6 s of it pre-training 2 encoders, leader c0 with 0.5000 on 2 folds" in summary(status)
    found = ledger(lines)
    assert found.accounts["c0", 0].pretraining == EPOCHS * 10**6 and found.totals()["pretraining"] == 6 * 10**6
    assert found.workers == 2 and all(account.jobs == 1 for account in found.accounts.values())
    assert found.busy == sum(found.totals().values())


def test_time_in_which_a_job_is_held_back_is_nobodys_busy_time(tmp_path):
    cluster = Cluster(tmp_path, [DINO, {**DINO, "pc": 1.0}], slots=4)
    with cluster.journal:
        cluster.start()
        cluster.seconds += 1000
        cluster.make("c0", 0)
        cluster.start()
        cluster.finish("c1", 0)
    account = ledger(cluster.lines()).accounts["c1", 0]
    assert account.busy < 20 * 10**6 and account.jobs == 1


@settings(max_examples=60)
@given(
    values=st.lists(st.sampled_from([DINO, {**DINO, "pc": 1.0}, OTHER_DINO, PLAIN]), min_size=1, max_size=6),
    scheduler=st.sampled_from(sorted(SCHEDULERS)),
    slots=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_every_run_ends_complete_whoever_is_killed(tmp_path_factory, values, scheduler, slots, seed):
    cluster = Cluster(tmp_path_factory.mktemp("run"), values, slots, scheduler, seed, retries=1000)
    kills = 20
    with cluster.journal:
        for _ in range(2000):
            cluster.start()
            if not cluster.running:
                break
            job = cluster.rng.choice(list(cluster.running.values()))
            if kills and cluster.rng.random() < 0.2:
                kills -= 1
                cluster.kill(job["config_id"], job["fold"], cluster.rng.choice([Failure.CRASHED, Failure.WRONG_NODE]))
            else:
                cluster.advance(job["config_id"], job["fold"])
    assert cluster.finished and not cluster.feed.stages.held_back and not cluster.policy.score_table.outstanding
    cluster.feed.ending.raise_error()
    assert not cluster.policy.score_table.failed and cluster.feed.ending.outcome.reason.startswith("every job is done")
    lines = cluster.lines()
    assert verdicts(SCHEDULERS[scheduler]([], FOLDS), lines) == []
    found = ledger(lines)
    assert found.busy == sum(found.totals().values()) and found.workers <= slots
