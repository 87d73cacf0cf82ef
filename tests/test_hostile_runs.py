"""A run folder from an untrusted source executes no code, and no name in it leads out of the folder."""

import pickle
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from conftest import small_config
from scored_run import scored_run

from analysis.ensembles.ensemble import load_ensemble, read_member
from search.commands.launch import LaunchOptions, launch_space
from search.planning.plan import PlanOptions
from search.runs.journal import Journal
from search.runs.recovery import recover
from search.runs.run_tables import read_run
from search.runs.status import status_of
from trainable.errors import UserError
from trainable.storage.checked_json import read_checked, write_checked
from trainable.training.checkpoint import load_network
from trainable.training.fold import train_fold


class Bomb:
    """Creates a folder when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.mkdir, (self.mark,)


def saved(bomb, path):
    torch.save({"version": 1, "weights": {}, "config": {}, "step": bomb}, path)


def pickled(bomb, path):
    path.write_bytes(pickle.dumps(bomb))


def zipped(bomb, path):
    """A torch archive that contains only the bomb."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(bomb))
        archive.writestr("archive/version", "3\n")


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "went off"


@pytest.fixture(params=[saved, pickled, zipped])
def plant(request, mark):
    return lambda path: request.param(Bomb(mark), path)


def test_the_bombs_work_without_protection(plant, mark, tmp_path):
    plant(tmp_path / "bomb.pt")
    with suppress(RuntimeError):  # torch notices too late that it is no checkpoint
        torch.load(tmp_path / "bomb.pt", weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("best.pt", lambda folder: read_member("c0", 0, folder)),
        ("best.pt", lambda folder: load_network(folder / "best.pt")),
        ("ensemble.pt", lambda folder: load_ensemble(folder, torch.device("cpu"))),
    ],
)
def test_weights_with_code_are_refused_by_name(plant, mark, tmp_path, name, read):
    plant(tmp_path / name)
    with pytest.raises(UserError, match=rf"{name}: is damaged or not a checkpoint"):
        read(tmp_path)
    assert not mark.exists()


def test_a_checkpoint_with_code_is_skipped_and_reported(plant, mark, tmp_path, small_data, small_folds, caplog):
    (tmp_path / "fold").mkdir()
    plant(tmp_path / "fold/last.pt")
    config = small_config(steps=2, evaluations=1)
    reports = list(train_fold(config, small_data, small_folds, 0, tmp_path / "fold", until=1, workers=0))
    assert not mark.exists() and not reports
    assert "last.pt: is damaged or not a checkpoint" in caplog.text
    # The fold started again and has a new checkpoint.
    assert torch.load(tmp_path / "fold/last.pt", weights_only=True)["step"] == 1


@pytest.fixture
def run(tmp_path):
    """A run of two scripted configs, of which one fold is done."""
    return scored_run(tmp_path / "runs", {"quality": {"values": [0.7, 0.8]}}, [([0.7, None, None], 1.0), ([], 1.0)])[0]


def launch(run):
    space = run.space()
    plan = PlanOptions(1.0, False)
    request = LaunchOptions(str(run.folder.parent), True, False, plan, address=None, dashboard=False, show=None)
    return launch_space(space, request)


def files_outside(folder):
    return {path for path in folder.rglob("*") if "runs/scored/" not in str(path)}


CONFIG = {"kind": "config", "steps": [1, 2], "parameters": {"quality": 0.8}}
HOSTILE = [
    *({**CONFIG, "config": name} for name in ("../../x", "/x", "..", ".", "", "a/b", "a\nb", "a\0b", "-x", 5, None)),
    *({"kind": "job", "fold": fold, "until": 2} for fold in ("../..", "0", -1, 3, 0.5, True, None)),
    *(
        {"kind": "report", "fold": fold, "step": 2, "score": 0.5, "seconds": 1.0}
        for fold in ("../..", "0", -1, 3, 0.5, True, None)
    ),
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=repr)
def test_no_name_in_a_journal_leads_out_of_the_run(run, hostile, tmp_path):
    known = run.lines()[1].fields["config"]
    with Journal(run.journal) as journal:
        journal.append(**{"config": known, **hostile})
    before = files_outside(tmp_path)
    for open_run in (status_of, launch):
        with pytest.raises(
            UserError, match=rf"journal, line {len(run.lines())}: .*(not a valid config id|is not 0 to|expected string)"
        ):
            open_run(run)
    tables = read_run(run)
    assert len(tables.left_out) == 1 and set(tables.configs["config"]) == {
        line.fields["config"] for line in run.lines()[1:3]
    }
    assert files_outside(tmp_path) == before


def test_a_config_with_the_id_of_another_is_not_trained(run, tmp_path):
    with Journal(run.journal) as journal:
        journal.append(**{**CONFIG, "config": "0" * 12})
    with pytest.raises(UserError, match=r"the parameters of config 000000000000 give the id \w{12}"):
        launch(run)


def test_a_rebuilt_journal_uses_the_ids_computed_from_the_configs(run, tmp_path):
    saved_config = read_checked(next(run.folder.glob("configs/*/config.json")))
    (run.folder / "configs/..x").mkdir()
    write_checked(run.folder / "configs/..x/config.json", {**saved_config, "id": "../../x"})
    before = files_outside(tmp_path)
    recover(run, run.space())
    assert {line.fields["config"] for line in run.lines() if line.kind == "config"} == {
        path.name for path in run.folder.glob("configs/[!.]*")
    }
    status_of(run)
    assert files_outside(tmp_path) == before
