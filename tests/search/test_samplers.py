"""Where configs come from, on runs without Ray: what is proposed when, what Optuna is told, and what a death costs."""

import math
import random
import statistics

import optuna
import pytest

from search.board import Board
from search.growing import GrowingStudy
from search.journal import Journal, read_journal
from search.optuna_sampler import OptunaProposals, stored_study
from search.proposals import Drawn, Listed
from search.schedulers import policy_of
from search.study import replay_lines, verdicts
from search.told import expected, trail
from search.words import Entrant, Finished, Job, Report, Stop
from spaces.load import make_space
from spaces.samplers import GridSampler, OptunaSampler
from trainable.errors import UserError

QUALITY = {"quality": {"min": 0.5, "max": 0.9}, "steps": 4, "evaluations": 4}
SAMPLERS = ["tpe", "gp", "cmaes"]


def space(parameters=QUALITY, sampler="tpe", scheduler="foldrace", **more):
    tree = {"name": "demo", "trainable": "scripted", "folds": 3, "parameters": parameters, **more}
    return make_space(tree | {"sampler": sampler, "scheduler": scheduler})


def peak(values):
    """Best at 0.8: a smooth hill in every number that is searched."""
    numbers = [value for value in values.values() if isinstance(value, float)]
    return 0.85 - 0.5 * sum((value - 0.8) ** 2 for value in numbers)


class Killed(Exception):
    pass


class Run:
    """A run's folder and its workers; what they have trained survives the driver, as checkpoints do."""

    def __init__(self, folder, space, score=peak, workers=2, shown=True):
        self.folder, self.space, self.score, self.workers, self.shown = folder, space, score, workers, shown
        self.trained = {}

    def report(self, config, fold, step):
        values = self.policy.board.entrants[config].parameters
        noise = random.Random(f"{config} {fold}").gauss(0, 0.002)
        return Report(config, fold, step, self.score(values) + noise + 0.02 * fold - 0.3 / step, 2.0 * step)

    def drive(self, records=math.inf, jobs=math.inf):
        """Open the run and go on to its end, or die right before a record is written."""
        self.policy = policy_of(self.space)
        replay_lines(self.policy, read_journal(self.folder / "journal.jsonl"))
        sampler, self.stored = self.space.settings.sampler, None
        if isinstance(sampler, OptunaSampler):
            proposals = OptunaProposals(self.space, sampler)
            if self.shown:
                self.stored = stored_study(proposals, self.folder, self.policy)
        elif isinstance(sampler, GridSampler):
            proposals = Listed(self.space.configs())
        else:
            proposals = Drawn(self.space, sampler.seed, sampler.count)
        with Journal(self.folder / "journal.jsonl") as journal:
            real, count = journal.append, [0]

            def append(kind, **fields):
                if count[0] >= records:
                    raise Killed
                count[0] += 1
                real(kind, **fields)

            journal.append = append
            self.study = GrowingStudy(self.policy, journal, proposals, lambda point: self.news())
            self.study.begin()
            return self._work(jobs)

    def _work(self, jobs):
        running = []
        while True:
            while len(running) < self.workers and jobs > 0:
                said = self.study.next()
                if not isinstance(said, Job):
                    break
                jobs -= 1
                running.append(said)
            if not running:
                if self.stored:
                    self.stored.write()
                assert jobs <= 0 or isinstance(said, Finished)
                return None if jobs <= 0 else said.reason
            job = running.pop(0)
            at = self.trained.get((job.config, job.fold), 0)
            for step in range(max(1, at), job.until + 1):  # the last report again first, as folds do
                self.trained[job.config, job.fold] = step
                verdict = self.study.report(self.report(job.config, job.fold, step))
                self.news()
                if isinstance(verdict, Stop):
                    break

    def news(self):
        if self.stored:
            self.stored.note()

    def configs(self):
        lines = read_journal(self.folder / "journal.jsonl")
        return [line.fields["parameters"] for line in lines if line.kind == "config"]

    def loaded(self):
        return optuna.load_study(storage=f"sqlite:///{self.folder / 'optuna.db'}", study_name="demo")


def tpe(count=None, **more):
    return {"name": "tpe", "seed": 0} | ({"count": count} if count else {}) | more


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_learns_where_the_good_configs_are_and_chance_does_not(tmp_path, name):
    parameters = {"quality": {"min": 0.5, "max": 0.9}, "noise": {"min": 0.0, "max": 1.0}, "steps": 4, "evaluations": 4}
    later, count = {}, 16 if name == "gp" else 24
    for sampler in (name, "random"):
        (tmp_path / sampler).mkdir()
        asked = space(parameters, {"name": sampler, "count": count, "seed": 0})
        run = Run(tmp_path / sampler, asked, workers=1, shown=False)
        run.drive()
        assert len(run.configs()) == count
        later[sampler] = statistics.median(peak(values) for values in run.configs()[12:])
    assert later[name] > later["random"] + 0.01


@pytest.mark.parametrize("name", SAMPLERS)
def test_conditions_and_forbid_hold_for_every_proposal_and_no_config_comes_twice(tmp_path, name):
    parameters = {
        "loss": {"values": ["iou", "dice"]},
        "pc": {"values": [1, 2]},
        "quality": {"min": 1, "max": 3, "distribution": "int"},
        "noise": {"min": 0.1, "max": 0.2, "when": {"loss": "dice"}},
        "steps": 4,
        "evaluations": 4,
    }
    forbid = [{"loss": "iou", "pc": 2}]
    run = Run(tmp_path, space(parameters, {"name": name, "count": 13}, forbid=forbid), lambda values: 0.1, workers=1)
    run.drive()
    told = run.configs()
    assert len({str(values) for values in told}) == len(told) == 13
    assert all(("noise" in values) == (values["loss"] == "dice") for values in told)
    assert not any(values["loss"] == "iou" and values["pc"] == 2 for values in told)
    assert {tuple(sorted(trial.params.items())) for trial in run.loaded().trials} == {
        tuple(sorted(values.items())) for values in told
    }


@pytest.mark.parametrize("name", ["tpe", "gp", "random"])
def test_a_finite_space_is_tried_to_its_last_config_and_then_the_run_ends(tmp_path, name):
    parameters = {"loss": {"values": ["iou", "dice"]}, "quality": {"values": [0.6, 0.7, 0.8]}, "steps": 4}
    run = Run(tmp_path, space(parameters, {"name": name, "count": 50}, forbid=[{"loss": "dice", "quality": 0.6}]))
    assert run.drive() == "every job is done, and the space has no config beyond these 5"
    assert len(run.configs()) == 5


def test_a_config_is_asked_for_only_when_a_worker_can_start_it_and_has_seen_all_scores_before(tmp_path):
    run = Run(tmp_path, space(sampler=tpe(12)), shown=False)
    run.drive()
    waiting, most = set(), 0
    lines = read_journal(tmp_path / "journal.jsonl")
    for place, line in enumerate(lines):
        if line.kind == "config":
            waiting.add(line.fields["config"])
            assert lines[place + 1].kind == "job" and lines[place + 1].fields["config"] == line.fields["config"]
        elif line.kind == "report" and "stop" in line.fields:
            waiting.discard(line.fields["config"])
        most = max(most, len(waiting))
    assert most == 2, "two workers, two configs that have not been screened"
    first = max(place for place, line in enumerate(lines) if line.kind == "config")
    assert not any(line.kind == "job" and line.fields["fold"] > 0 for line in lines[:first])


@pytest.mark.parametrize("scheduler", ["grid", "asha", "foldrace"])
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_without_a_count_new_configs_come_until_the_budget_is_spent_and_some_are_complete(tmp_path, sampler, scheduler):
    run = Run(tmp_path, space(sampler=sampler, scheduler=scheduler, budget={"gpu_hours": 0.1}), shown=False)
    assert "budget spent" in run.drive()
    board = run.policy.board
    assert len(board.entrants) > 8 and run.policy.answer().winner is not None
    assert sum(board.complete(config) for config in board.entrants) >= 3


def test_halving_needs_to_know_how_many_configs_will_come():
    with pytest.raises(UserError, match=r"sampler\.count: is required: halving takes shares of all configs"):
        space(scheduler="halving", budget={"trials": 9})
    assert space(scheduler="halving", sampler=tpe(4)).settings.sampler.count == 4


def test_the_study_in_the_storage_shows_states_values_and_reasons(tmp_path):
    def score(values):
        return math.nan if values["quality"] < 0.55 else values["quality"]

    run = Run(tmp_path, space(sampler=tpe(16)), score)
    run.drive()
    board, shown = run.policy.board, run.loaded()
    states = {state.name for state in (trial.state for trial in shown.trials)}
    assert states == {"COMPLETE", "PRUNED", "FAIL"}
    latest = {trial.user_attrs["config"]: trial for trial in shown.trials}
    assert latest.keys() == board.entrants.keys()
    for config, trial in latest.items():
        assert trial.params == board.entrants[config].parameters
        if trial.state.name == "COMPLETE":
            assert trial.value == pytest.approx(statistics.fmean(board.scores(config)))
            assert trial.intermediate_values == trail(board, config)
        elif trial.state.name == "PRUNED":
            assert trial.user_attrs["reason"].startswith("paused")
            assert trial.value == list(trial.intermediate_values.values())[-1]
        else:
            assert config in board.failed and "not a number" in trial.user_attrs["reason"]
    assert shown.best_trial.user_attrs["config"] == run.policy.answer().winner


def test_at_the_same_step_intermediate_values_have_been_through_the_same_folds(tmp_path):
    run = Run(tmp_path, space(sampler=tpe(3), scheduler="grid"), lambda values: 0.5)
    run.drive()
    first, *others = [trail(run.policy.board, config) for config in run.policy.board.entrants]
    assert list(first) == [1, 2, 3, 4, 8, 12]
    board = Board(1)
    board.add(Entrant("long", tuple(range(1, 101))))
    for step in range(1, 51):
        board.record(Report("long", 0, step, 0.5, 1.0))
    assert list(trail(board, "long")) == list(range(5, 51, 5)), "a long curve is shown by every fifth point"
    for other in others:
        assert all(abs(other[step] - first[step]) < 0.02 for step in first), "the folds' own levels are in neither"


def test_what_a_paused_config_is_taken_for_leaves_out_its_folds_and_a_failed_one_is_the_worst(tmp_path):
    def score(values):
        return math.nan if values["quality"] < 0.55 else values["quality"]

    run = Run(tmp_path, space(sampler=tpe(16)), score, shown=False)
    run.drive()
    board, told = run.policy.board, expected(run.policy)
    assert told.keys() == board.entrants.keys()
    depth = {config: len(board.scores(config)) for config in told}
    assert set(depth.values()) >= {0, 3}, "some paused at the rung of fold 0, some complete"
    for config in told.keys() - board.failed:
        truth = board.entrants[config].parameters["quality"] + 0.02 - 0.3 / 4
        assert told[config] == pytest.approx(truth, abs=0.02), "whatever folds and rungs it was seen on"
    assert board.failed and all(told[config] == min(told.values()) for config in board.failed)


@pytest.mark.parametrize("name", [*SAMPLERS, "random"])
@pytest.mark.parametrize("kills", [(6,), (2, 13, 1, 5), (31, 7)], ids=str)
def test_killed_at_any_records_it_proposes_what_an_undisturbed_run_does(tmp_path_factory, name, kills):
    asked = space(sampler={"name": name, "count": 13}, parameters=QUALITY | {"noise": {"min": 0.0, "max": 1.0}})
    calm, wild = (Run(tmp_path_factory.mktemp(name), asked, workers=1, shown=name == "cmaes") for _ in range(2))
    calm.drive()
    for records in kills:
        with pytest.raises(Killed):
            wild.drive(records)
    wild.drive()
    assert wild.configs() == calm.configs()
    assert wild.policy.answer() == calm.policy.answer()
    assert verdicts(policy_of(asked), read_journal(wild.folder / "journal.jsonl")) == []


@pytest.mark.parametrize("damage", ["lost", "damaged", "behind"])
def test_a_study_that_is_lost_damaged_or_behind_is_made_again_from_the_journal(tmp_path, damage, capsys):
    run = Run(tmp_path, space(sampler=tpe(12)))
    run.drive(jobs=9)
    if damage == "behind":
        (tmp_path / "before.db").write_bytes((tmp_path / "optuna.db").read_bytes())
        run.drive(jobs=4)
        (tmp_path / "before.db").replace(tmp_path / "optuna.db")
    elif damage == "lost":
        (tmp_path / "optuna.db").unlink()
    else:
        (tmp_path / "optuna.db").write_bytes(b"no database" * 100)
    run.drive()
    assert ("made anew from the journal" in capsys.readouterr().err) == (damage == "damaged")
    assert (tmp_path / "optuna.damaged.db").exists() == (damage == "damaged")
    latest = {trial.user_attrs["config"]: trial for trial in run.loaded().trials}
    assert latest.keys() == run.policy.board.entrants.keys()
    complete = {config for config, trial in latest.items() if trial.state.name == "COMPLETE"}
    assert complete == {config for config in latest if run.policy.board.complete(config)} != set()


def test_a_paused_config_that_comes_back_and_is_complete_gets_a_second_trial(tmp_path):
    run = Run(tmp_path, space(sampler=tpe(2), scheduler="grid"), workers=1)
    run.drive(jobs=1)
    (trial,) = run.loaded().trials
    run.stored.storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.PRUNED, [0.5])
    run.drive()
    config = trial.user_attrs["config"]
    mine = [trial.state.name for trial in run.loaded().trials if trial.user_attrs["config"] == config]
    assert mine == ["PRUNED", "COMPLETE"]


def test_a_storage_of_ones_own_is_used_and_a_study_of_another_run_in_it_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    asked = space(sampler=tpe(4, storage=url))
    Run(tmp_path / "one", asked).drive()
    assert len(optuna.load_study(storage=url, study_name="demo").trials) == 4
    assert not (tmp_path / "one/optuna.db").exists()
    with pytest.raises(UserError, match="holds a study 'demo' of another run; choose another name"):
        Run(tmp_path / "two", asked).drive()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "sampler.storage = nonsense: Could not parse"),
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
        ("$ADDRESS", r"sampler.storage = foo://me:\*\*\*@host/db: Can't load plugin"),
        ("$NOWHERE", r"sampler.storage = \$NOWHERE: there is no such environment variable"),
        ("redis://localhost", "Can't load plugin"),
        ("postgresql://me@localhost/db", "Failed to import DB access module"),
    ],
)
def test_a_storage_that_cannot_be_used_is_told_before_any_trial(tmp_path, url, words, monkeypatch):
    monkeypatch.setenv("ADDRESS", "foo://me:secret@host/db")
    with pytest.raises(UserError, match=words):
        Run(tmp_path, space(sampler=tpe(4, storage=url))).drive()
    assert not (tmp_path / "journal.jsonl").exists()


def test_trouble_with_the_storage_ends_no_run_and_is_made_good(tmp_path, monkeypatch, capsys):
    from optuna.storages import RDBStorage

    real, calls = RDBStorage.create_new_trial, [0]

    def flaky(self, *words, **more):
        calls[0] += 1
        if 2 <= calls[0] <= 3:
            raise optuna.exceptions.StorageInternalError("the database is gone")
        return real(self, *words, **more)

    monkeypatch.setattr(RDBStorage, "create_new_trial", flaky)
    run = Run(tmp_path, space(sampler=tpe(5)))
    run.drive()
    assert "cannot be written (the database is gone); the run goes on" in capsys.readouterr().err
    assert {trial.user_attrs["config"] for trial in run.loaded().trials} == run.policy.board.entrants.keys()


def test_optuna_says_nothing(tmp_path, capsys):
    Run(tmp_path, space(sampler=tpe(4))).drive()
    told = capsys.readouterr()
    assert told.out == told.err == ""
