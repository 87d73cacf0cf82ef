"""A journal that is rebuilt from the fold folders, and what is kept of the old one."""

import pytest

from search.commands.launch_record import record_launch
from search.runs.recovery import recover
from search.runs.status import status_of
from spaces.load import make_space
from trainable.scripted import Script, run_script

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
