"""The right to drive a run in an object store, by the store's own clock."""

import json
import time

import pytest

from search.run_storage import lease as leases
from search.run_storage.lease import Lease, is_held
from trainable.errors import UserError
from trainable.storage.file_locks import try_lock
from trainable.storage.object_store import Store

# Connections that the server of the tests has left to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
OBJECT = "runs/demo/driver.json"


@pytest.fixture
def store(object_store):
    return Store(object_store.url("runs/demo"), patience=0)


@pytest.fixture
def note(tmp_path):
    """Where a machine of this name remembers its leases."""
    return lambda machine: tmp_path / machine / ".demo.driver"


def left_by(store, note):
    """A driver that died: its lease is there, and nobody holds its lock."""
    with Lease(store, note):
        content = store.read("driver.json")
    store.write("driver.json", content)


def test_a_run_has_one_driver_and_is_free_again_when_it_ends(store, note, object_store):
    with Lease(store, note("first")):
        assert is_held(store, note("first")) and is_held(store, note("visitor"))
        for machine in ("first", "second"):
            with pytest.raises(UserError, match="s3://scribbles/runs/demo: this run is being driven by another proc"):
                Lease(store, note(machine)).__enter__()
    assert not is_held(store, note("visitor")) and OBJECT not in object_store.names()
    with Lease(store, note("second")):
        assert is_held(store, note("visitor"))


def test_the_lease_of_a_dead_driver_goes_stale_by_the_clock_of_the_store(store, note, object_store, monkeypatch):
    left_by(store, note("first"))
    monkeypatch.setattr("time.time", lambda: 4e9)  # a machine whose clock is wrong
    object_store.age(OBJECT, 50)
    assert is_held(store, note("visitor"))
    with pytest.raises(UserError, match=r"and was 5\d s ago; if that has died, launch again in \d+ s"):
        Lease(store, note("second")).__enter__()
    object_store.age(OBJECT, 11)
    assert not is_held(store, note("visitor"))
    with Lease(store, note("second")):
        assert is_held(store, note("visitor"))


def test_the_machine_of_a_dead_driver_knows_at_once(store, note):
    left_by(store, note("first"))
    assert is_held(store, note("visitor")) and not is_held(store, note("first"))
    with Lease(store, note("first")) as lease:
        assert not lease.lost


def test_a_driver_whose_lease_was_taken_sees_it_and_leaves_it_alone(store, note, monkeypatch):
    monkeypatch.setattr(leases, "BEAT", 0.0)
    with Lease(store, note("first")) as lease:
        while not lease.lost:  # a beat that was under way may be the later one
            store.write("driver.json", json.dumps({"id": "another", "host": "elsewhere"}).encode())
    assert json.loads(store.read("driver.json"))["id"] == "another"


def test_a_lease_that_is_written_again_and_again_stays_fresh(store, note, object_store, monkeypatch):
    monkeypatch.setattr(leases, "BEAT", 0.0)
    with Lease(store, note("first")):
        object_store.age(OBJECT, 1000)
        while not is_held(store, note("visitor")):
            time.sleep(0.01)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"\xff"])
def test_what_is_no_lease_is_waited_for_all_the_same(store, note, object_store, content):
    left_by(store, note("first"))
    store.write("driver.json", content)
    with pytest.raises(UserError, match="on None, and was"):
        Lease(store, note("first")).__enter__()
    object_store.age(OBJECT, 61)
    with Lease(store, note("first")) as lease:
        assert not lease.lost


def test_a_refused_driver_lets_go_of_what_it_held(store, note):
    left_by(store, note("first"))
    with pytest.raises(UserError):
        Lease(store, note("second")).__enter__()
    assert try_lock(note("second").with_suffix(".lock")) is not None
