"""A fold trial of a run in an object store: interrupted transfers neither lose nor duplicate anything."""

import errno
import json
import os
import shutil
from functools import partialmethod

import pytest
import torch
from conftest import small_config

from trainable.data.shipment import Shipment
from trainable.ray_trial import FoldTrial, packed, unpacked
from trainable.scripted import Script, run_script
from trainable.storage.node_folder import Overtaken, Workplace
from trainable.storage.object_store import Store, StoreFailed
from trainable.training.checkpoint import load

# Connections that the server of the tests has left to the collector.
pytestmark = [
    pytest.mark.usefixtures("narrow_decoders"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
FOLD = "runs/demo/configs/0123456789ab/fold_0"
SCRIPT = Script(steps=6, evaluations=6)


@pytest.fixture
def node(tmp_path, monkeypatch):
    """Be on a node of this name: each has a disk of its own."""

    def go(name):
        monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / name))
        return tmp_path / name / "scratch"

    go("first")
    return go


@pytest.fixture
def job(object_store):
    return {"store": object_store.url("runs/demo"), "config_id": "0123456789ab", "fold": 0}


class Minutes:
    """A clock on which a minute and a second pass between any two looks."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 61.0
        return self.now


def workplace(job, *clock):
    return Workplace(Store(job["store"]).under("configs", job["config_id"], f"fold_{job['fold']}"), *clock)


def working(job, until=6, clock=Minutes):
    place = workplace(job, clock())
    return place, place.carry(run_script(SCRIPT, 0, place.folder, until))


def told(object_store):
    return [json.loads(line)["step"] for line in object_store.read(f"{FOLD}/metrics.jsonl").decode().splitlines()]


def leftovers(scratch):
    return [path.name for path in scratch.iterdir() if path.suffix != ".lock"]


def test_a_paused_fold_resumes_on_another_node(job, object_store, node):
    scratch = node("first")
    place, reports = working(job, until=3)
    assert [report["step"] for report in reports] == [1, 2, 3]
    assert told(object_store) == [1, 2, 3] and leftovers(scratch) == []
    node("second")
    place, reports = working(job)
    assert [report["step"] for report in reports] == [3, 4, 5, 6]
    assert told(object_store) == [1, 2, 3, 4, 5, 6] and not place.folder.exists()
    assert {"last.json", "log.txt", "metrics.jsonl"} == {name.rpartition("/")[2] for name in object_store.names(FOLD)}


def test_a_fold_that_is_stopped_in_between_leaves_all_it_has_in_the_store(job, object_store, node):
    scratch = node("first")
    _place, reports = working(job, clock=lambda: lambda: 0.0)
    assert next(reports)["step"] == 1 and next(reports)["step"] == 2
    assert object_store.names(FOLD) == [], "a minute has not passed"
    reports.close()
    assert told(object_store) == [1, 2] and leftovers(scratch) == []


def test_the_last_report_follows_the_upload_of_its_results(job, object_store, node):
    _place, reports = working(job, clock=lambda: lambda: 0.0)
    for report in reports:
        if report["finished"]:
            break
    assert told(object_store) == [1, 2, 3, 4, 5, 6] and json.loads(object_store.read(f"{FOLD}/last.json"))["step"] == 6


@pytest.fixture
def dying(monkeypatch):
    """A process that dies takes no leave."""

    def die(reports):
        with monkeypatch.context() as patch:
            patch.setattr(Workplace, "_leave", lambda place: None)
            reports.close()

    return die


def test_what_a_dead_process_left_on_the_node_is_gone_on_with(job, object_store, node, dying):
    place, reports = working(job, clock=lambda: lambda: 0.0)
    assert [next(reports)["step"] for _ in range(4)] == [1, 2, 3, 4]
    (place.folder / "hang.txt").write_text("here")
    dying(reports)
    assert object_store.names(FOLD) == []
    place, reports = working(job)
    assert (place.folder / "hang.txt").read_text() == "here"
    assert [report["step"] for report in reports] == [4, 5, 6] and told(object_store) == [1, 2, 3, 4, 5, 6]


def test_what_was_left_is_given_up_where_the_fold_has_gone_on_elsewhere(job, object_store, node, dying):
    scratch = node("first")
    place, reports = working(job)
    assert [next(reports)["step"] for _ in range(2)] == [1, 2]
    (place.folder / "next.pt").write_text("half a checkpoint")
    dying(reports)
    node("second")
    assert [report["step"] for report in working(job, until=5)[1]] == [2, 3, 4, 5]
    node("first")
    place, reports = working(job)
    assert next(reports)["step"] == 5 and not (place.folder / "next.pt").exists()
    reports.close()
    assert leftovers(scratch) == []


def test_a_worker_that_was_given_up_does_not_undo_what_was_done_since(job, object_store, node):
    _place, old = working(job)
    assert next(old)["step"] == 1
    node("second")
    assert [report["step"] for report in working(job, until=3)[1]] == [1, 2, 3]
    with pytest.raises(Overtaken, match="another worker has continued this fold"):
        next(old)
    assert told(object_store) == [1, 2, 3]


def test_a_second_process_of_a_node_gets_another_folder(job, node):
    first, reports = working(job)
    next(reports)
    second = workplace(job)
    assert second.folder != first.folder
    reports.close()
    assert workplace(job).folder == first.folder


@pytest.mark.parametrize("sent", range(1, 9))
def test_a_push_that_is_cut_short_leaves_what_a_crash_could_have_left(job, object_store, node, monkeypatch, sent):
    """Two reports of three files each are pushed; the way is cut after so many files, and another node goes on."""
    left = [sent]

    def put(store, local, name, put=Store.put):
        if not left[0]:
            raise StoreFailed("gone")
        left[0] -= 1
        put(store, local, name)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", put)
        _place, reports = working(job)
        with pytest.raises(StoreFailed):
            list(reports)
    there = object_store.names(FOLD)
    known = len(told(object_store)) if f"{FOLD}/metrics.jsonl" in there else 0
    saved = json.loads(object_store.read(f"{FOLD}/last.json"))["step"] if f"{FOLD}/last.json" in there else 0
    assert saved <= known <= saved + 1, "a report that the checkpoint knows would be lost"
    node("second")
    assert [report["step"] for report in working(job)[1]] == list(range(max(1, saved), 7))
    assert told(object_store) == [1, 2, 3, 4, 5, 6]


def test_a_checkpoint_goes_after_the_reports_that_are_newer_than_it(job, node, monkeypatch):
    def reports(folder):
        for name in ("last.pt", "images.parquet", "metrics.jsonl"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
        yield {"step": 1, "finished": True}

    sent = []
    monkeypatch.setattr(Store, "put", lambda store, local, name: sent.append(name))
    place = workplace(job)
    assert next(place.carry(reports(place.folder)))["step"] == 1
    assert sent[-1] == "last.pt" and len(sent) == 3


def test_a_store_that_stays_away_ends_the_run_in_order_and_the_node_keeps_what_was_done(
    job, object_store, node, monkeypatch, tmp_path
):
    told_job = {
        **job,
        "values": SCRIPT.model_dump(mode="json"),
        "gpus": 0.125,
        "run": "demo",
        "folder": str(tmp_path / "runs/demo/configs/0123456789ab/fold_0"),
        "journal": str(tmp_path / "runs/demo/journal.jsonl"),
        "until": 6,
        "hang_seconds": 600.0,
        "hang_factor": 20.0,
    }
    monkeypatch.setattr("trainable.storage.node_folder.EVERY", 0.0)
    actor = FoldTrial(packed(told_job))
    assert unpacked(actor.step())["step"] == 1
    put = Store.put
    monkeypatch.setattr(Store, "put", _gone)
    result = unpacked(actor.step())
    assert "cannot be reached" in result["storage"] and not result["local"]
    monkeypatch.setattr(Store, "put", put)
    actor.reset_config(packed(told_job))
    with monkeypatch.context() as full:
        full.setattr("trainable.scripted.append_record", _no_space)
        assert unpacked(actor.step())["step"] == 2, "the second report was made, and not told"
        result = unpacked(actor.step())
    assert "No space left" in result["storage"] and result["local"], "other nodes have a disk of their own"
    actor.reset_config(packed(told_job))
    assert [unpacked(actor.step())["step"] for _ in range(2)] == [2, 3]
    with monkeypatch.context() as full:
        full.setattr(Workplace, "_remember", lambda place, seen: _no_space(place.folder, seen))
        actor.reset_config(packed(told_job))  # does not fail because of what the previous job could not save
    assert unpacked(actor.step())["step"] == 3
    actor.cleanup()
    assert told(object_store) == [1, 2, 3] and not (tmp_path / "runs").exists()
    lines = object_store.read(f"{FOLD}/metrics.jsonl").splitlines()
    assert [json.loads(line)["gpus"] for line in lines] == [0.125] * 3


def _no_space(path, record):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _gone(store, local, name):
    raise StoreFailed("s3://scribbles/runs/demo: cannot be reached")


def test_a_real_fold_that_moves_between_nodes_ends_as_one_that_never_did(
    job, object_store, node, small_folder, small_folds, small_cache, tmp_path, monkeypatch
):
    class Worker(FoldTrial):
        setup = partialmethod(FoldTrial.setup, shipment=Shipment(small_folds, small_folder, "train"))

    values = small_config().model_dump(mode="json")
    base = {
        "metric": "miou",
        "threads": 1,
        "gpus": 0.0,
        "memory": 1.0,
        "alone": False,
        "values": values,
        "run": "demo",
        "until": 8,
        "hang_seconds": 600.0,
        "hang_factor": 20.0,
        "config_id": "0123456789ab",
        "fold": 0,
        "folder": str(tmp_path / "local"),
        "journal": str(tmp_path),
    }
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(small_cache))
    scores = _to_the_end(Worker(packed(base)))
    for name, until in (("first", 4), ("second", 8)):
        shutil.copytree(small_cache, node(name).parent, dirs_exist_ok=True)
        moved = _to_the_end(Worker(packed({**base, **job, "until": until, "folder": str(tmp_path / "unused")})))
    assert moved == scores[1:], "the first report after a move is the last one before it"
    for name in ("best.pt", "last.pt"):
        (tmp_path / name).write_bytes(object_store.read(f"{FOLD}/{name}"))
        ours, theirs = load(tmp_path / name), load(tmp_path / "local" / name)
        for key, weight in theirs["weights"].items():
            assert torch.equal(ours["weights"][key], weight), f"{name}: {key}"
    assert object_store.read(f"{FOLD}/images.parquet") == (tmp_path / "local/images.parquet").read_bytes()
    assert not (tmp_path / "unused").exists()


def _to_the_end(actor):
    scores = []
    while "ended" not in (result := unpacked(actor.step())):
        scores.append(result["score"])
    return scores
