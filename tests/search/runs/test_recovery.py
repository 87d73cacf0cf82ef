"""A journal that is rebuilt from the fold folders, and what is kept of the old one."""

import pytest

from search.commands.launch_record import record_launch
from search.runs.fold_models import decisions
from search.runs.journal import Journal
from search.runs.ledger import ledger
from search.runs.recovery import recover
from search.runs.status import status_of
from spaces.load import make_space
from trainable.errors import UserError
from trainable.scripted import Script, run_script
from trainable.storage.checked_json import read_lines, text_of

SPACE = make_space(
    {
        "name": "demo",
        "trainable": "scripted",
        "folds": 2,
        "parameters": {"quality": {"values": [0.7, 0.8]}, "steps": 2, "evaluations": 2},
    }
)
FIRST, SECOND = SPACE.configs()


@pytest.fixture
def trained(run):
    """The run with all fold folders, as workers write them, and no journal."""
    record_launch(run, SPACE, None)
    for point in (FIRST, SECOND):
        run.record_config(point)
        for fold in range(2):
            script = Script(quality=point.config.quality, steps=2, evaluations=2)
            list(run_script(script, fold, run.fold_folder(point.id, fold), 2))
    return run


def test_a_fold_that_was_completed_after_it_had_failed_has_not_failed(trained):
    for point, fold in ((FIRST, 0), (SECOND, 1)):
        (trained.fold_folder(point.id, fold) / "error.txt").write_text("crash: an error\n")
    path = trained.fold_folder(SECOND.id, 1) / "metrics.jsonl"
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    recover(trained, SPACE)
    found = status_of(trained)
    assert found.trials[FIRST.id, 0].state == "done" and found.trials[SECOND.id, 1].state == "failed"
    assert set(found.score_table.failed) == {SECOND.id}


def test_gpu_time_growth_and_the_choice_to_keep_a_config_survive_a_rebuilt_journal(trained):
    path = trained.fold_folder(FIRST.id, 0) / "metrics.jsonl"
    path.write_text(text_of({**line, "gpus": 0.125, "seconds": 8.0} for line in read_lines(path)))
    with Journal(trained.journal) as journal:
        journal.append("begin")
        journal.append("devices", device="GPU")
        journal.append("space", changes=["sampler.count: 1 -> 2"], fills={})
        journal.append("finish", config=SECOND.id)
        journal.append("pretraining", config=FIRST.id, fold=0, seconds=40.0, made=True, gpus=0.5)
        journal.append("retrained", config=FIRST.id, fold=1, seconds=2.0)
        journal.append("retrained", config="gone", fold=1, seconds=2.0)
        journal.append("dropped", configs=[FIRST.id], keep="winners")
    lines = trained.journal.read_text().splitlines(keepends=True)
    trained.journal.write_text("".join([lines[0][:9] + "\n", *lines[1:]]))
    recover(trained, SPACE)
    kept, found = decisions(trained.lines()), status_of(trained)
    assert [line.fields["changes"] for line in trained.lines() if line.kind == "space"] == [["sampler.count: 1 -> 2"]]
    assert kept.chosen == {SECOND.id} and kept.dropped == {FIRST.id: "winners"} and found.device == "GPU"
    table = found.score_table
    assert table.gpu_seconds(FIRST.id, 0) == 1.0, "8 seconds on an eighth of a GPU"
    others = sum(table.gpu_seconds(point.id, fold) for point, fold in ((FIRST, 1), (SECOND, 0), (SECOND, 1)))
    assert table.spent == pytest.approx(1.0 + others + 20.0 + 2.0)
    assert ledger(trained.lines()).accounts[FIRST.id, 0].pretraining == 40_000_000


@pytest.mark.parametrize("content", [None, ""])
def test_a_run_whose_journal_is_gone_does_not_start_from_nothing(trained, search, content):
    if content is not None:
        trained.journal.write_text(content)
    words = ("launch", trained.folder / "space.yaml", "--runs", trained.folder.parent, "--force-code")
    with pytest.raises(UserError, match=r"journal\.jsonl: is missing or empty, .*; launch --recover rebuilds it"):
        search(*words)
    assert not trained.journal.exists() or not trained.journal.read_text()
    with pytest.raises(UserError, match="launch --recover rebuilds it"):
        search("status", trained.folder)
    assert "launch --recover rebuilds it" in search("list", "--runs", trained.folder.parent, "--format", "csv").stdout
    done = search(*words, "--recover")
    assert done.exit_code == 0 and "rebuilt from the fold folders with 8 reports" in done.stderr


def test_a_recovery_that_is_cut_short_leaves_the_journal(trained, monkeypatch):
    trained.journal.write_text("damaged\n")

    replace = type(trained.journal).replace

    def die(path, target):
        if target == trained.journal:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(trained.journal), "replace", die)
        recover(trained, SPACE)
    assert trained.journal.read_text() == "damaged\n"
    assert recover(trained, SPACE) == 8
    assert (trained.folder / "journal.damaged.jsonl").read_text() == "damaged\n"
