"""A study that is killed after any record and resumed makes the same decisions as an uninterrupted one."""

import math

import pytest
from driver_death import Killed, die_after
from hypothesis import given, settings
from hypothesis import strategies as st

from search.messages import Entrant, Finished, Job, Report, Stop
from search.policies.foldrace import FoldRace
from search.policies.registry import SCHEDULERS
from search.runs.journal import Journal, Line, read_journal
from search.runs.study import Study, replay_lines, verdicts
from trainable.errors import UserError
from trainable.storage.checked_json import read_lines, text_of

STEPS = (1, 2, 3, 4)
ENTRANTS = [Entrant(f"c{k}", STEPS, {"loss": "iou" if k % 2 else "dice"}) for k in range(5)]


def score(config, fold, step):
    return 0.7 + 0.01 * int(config[1:]) + 0.02 * fold - 0.3 / step + 0.001 * ((int(config[1:]) * 7 + fold * 3) % 5)


class Worker:
    """Trains instantly; its progress survives the driver, like checkpoints."""

    def __init__(self):
        self.done = {}
        self.trained = 0

    def reports(self, job):
        cell = (job.config, job.fold)
        if cell in self.done:
            yield self.done[cell]
        first = self.done[cell].step + 1 if cell in self.done else 1
        for step in range(first, job.until + 1):
            self.trained += 1
            self.done[cell] = Report(job.config, job.fold, step, score(job.config, job.fold, step), 2.0 * step)
            yield self.done[cell]


def drive(path, name, worker, records=math.inf):
    """Run or resume to the end, or die immediately before or after this number of records."""
    policy = SCHEDULERS[name]([], 3)
    replay_lines(policy, read_journal(path))
    with Journal(path) as journal:
        study = Study(policy, journal)
        die_after(journal, records)
        study.begin()
        for entrant in ENTRANTS:
            study.add(entrant)
        while not isinstance(decision := study.next(), Finished):
            assert isinstance(decision, Job), "one worker never waits"
            for report in worker.reports(decision):
                if isinstance(study.report(report), Stop):
                    break
    return policy


def reports_of(path):
    return [
        (line.fields["config"], line.fields["fold"], line.fields["step"])
        for line in read_journal(path)
        if line.kind == "report"
    ]


@pytest.mark.parametrize("name", SCHEDULERS)
@settings(max_examples=8)
@given(st.lists(st.integers(1, 60), max_size=6))
def test_a_killed_study_records_every_report_once_and_trains_nothing_twice(tmp_path_factory, name, kills):
    uninterrupted, interrupted = (tmp_path_factory.mktemp(name) / "journal.jsonl" for _ in range(2))
    expected = drive(uninterrupted, name, Worker())
    worker = Worker()
    for records in kills:
        try:
            drive(interrupted, name, worker, records)
        except Killed:
            continue
    result = drive(interrupted, name, worker)
    reports = reports_of(interrupted)
    assert len(reports) == len(set(reports)), "a report was recorded twice"
    assert worker.trained == sum(1 for _ in reports), "a step was trained twice or not reported"
    assert result.answer().winner == expected.answer().winner


@pytest.mark.parametrize("name", SCHEDULERS)
def test_replaying_the_journal_gives_the_same_decisions(tmp_path, name):
    path, worker = tmp_path / "journal.jsonl", Worker()
    for records in (7, 15, 11):
        with pytest.raises(Killed):
            drive(path, name, worker, records)
    policy = drive(path, name, worker)
    assert verdicts(SCHEDULERS[name]([], 3), read_journal(path)) == [] and not policy.earlier_rules


@pytest.mark.parametrize(("rules", "stratify", "earlier"), [(3, "loss", True), (4, "loss", False), (3, None, False)])
def test_only_races_with_strata_are_said_to_have_changed_since_the_third_rules(rules, stratify, earlier):
    policy = FoldRace(ENTRANTS, 3, stratify=stratify)
    replay_lines(policy, [Line(1, "begin", {"rules": rules}, 0.0)])
    assert bool(policy.earlier_rules) == earlier


def test_a_changed_decision_is_detected(tmp_path):
    path = tmp_path / "journal.jsonl"
    drive(path, "foldrace", Worker())
    records = read_lines(path)
    number = next(k for k, record in enumerate(records) if "stop" in record)
    del records[number]["stop"]
    path.write_text(text_of(records))
    changed = verdicts(SCHEDULERS["foldrace"]([], 3), read_journal(path))
    assert [line for line, _, _ in changed] == [number + 1]


def test_a_record_that_does_not_fit_is_an_error_with_its_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("report", config="nobody", fold=0, step=1, score=0.5, seconds=1.0)
    with pytest.raises(UserError, match="journal, line 1: does not fit"):
        replay_lines(SCHEDULERS["grid"]([], 2), read_journal(path))


def test_a_job_whose_record_cannot_be_written_is_not_outstanding(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        study = Study(SCHEDULERS["grid"](ENTRANTS, 2), journal)

        def refuse(kind, **fields):
            raise UserError("disk full")

        journal.append = refuse
        with pytest.raises(UserError):
            study.next()
        assert not study.policy.score_table.outstanding


def test_lost_models_are_trained_again_within_the_budget(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        study = Study(SCHEDULERS["grid"](ENTRANTS[:1], 2, budget=20.0), journal)
        study.completions = lambda: [Job("c0", fold, 4) for fold in range(2)]
        worker, trained = Worker(), []
        while isinstance(decision := study.next(), Job):
            trained.append((decision.fold, study.policy.score_table.spent))
            for report in worker.reports(decision):
                if isinstance(study.report(report), Stop):
                    break
        # two folds of 8 GPU-seconds, then the lost model of fold 0 for another 8; that of fold 1 has to wait
        assert trained == [(0, 0.0), (1, 8.0), (0, 16.0)]
        assert decision == Finished("budget spent: 24 of 20 GPU-seconds")
