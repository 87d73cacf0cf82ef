"""The lease of a run in an object store, whose age is measured by the store's clock."""

import json
import time

import pytest

from search.run_storage import lease as lease_module
from search.run_storage.lease import Lease, is_held
from trainable.errors import UserError
from trainable.storage.file_locks import try_lock
from trainable.storage.object_store import Store

# The test server leaves closing its connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
OBJECT = "runs/demo/driver.json"


@pytest.fixture
def store(object_store):
    return Store(object_store.url("runs/demo"), patience=0)


@pytest.fixture
def record(tmp_path):
    """The local record of a machine with this name."""
    return lambda machine: tmp_path / machine / ".demo.driver"


def leave_lease(store, record):
    """Leave the lease of a dead driver: it is in the store, and no process holds its lock."""
    with Lease(store, record):
        content = store.read("driver.json")
    store.write("driver.json", content)


def test_a_run_has_one_driver_and_is_free_when_that_driver_ends(store, record, object_store):
    with Lease(store, record("first")):
        assert is_held(store, record("first")) and is_held(store, record("visitor"))
        for machine in ("first", "second"):
            with pytest.raises(UserError, match="s3://scribbles/runs/demo: this run is already driven by another"):
                Lease(store, record(machine)).__enter__()
    assert not is_held(store, record("visitor")) and OBJECT not in object_store.names()
    with Lease(store, record("second")):
        assert is_held(store, record("visitor"))


def test_the_lease_of_a_dead_driver_becomes_stale_by_the_clock_of_the_store(store, record, object_store, monkeypatch):
    leave_lease(store, record("first"))
    monkeypatch.setattr("time.time", lambda: 4e9)  # a wrong local clock
    object_store.age(OBJECT, 50)
    assert is_held(store, record("visitor"))
    with pytest.raises(UserError, match=r"last heartbeat 5\d s ago\); if that process is dead, launch again in \d+ s"):
        Lease(store, record("second")).__enter__()
    object_store.age(OBJECT, 11)
    assert not is_held(store, record("visitor"))
    with Lease(store, record("second")):
        assert is_held(store, record("visitor"))


def test_a_lease_is_free_immediately_on_the_machine_of_the_dead_driver(store, record):
    leave_lease(store, record("first"))
    assert is_held(store, record("visitor")) and not is_held(store, record("first"))
    with Lease(store, record("first")) as lease:
        assert not lease.lost


def test_a_driver_whose_lease_was_taken_notices_and_does_not_overwrite_it(store, record, monkeypatch):
    monkeypatch.setattr(lease_module, "HEARTBEAT", 0.0)
    with Lease(store, record("first")) as lease:
        while not lease.lost:  # a heartbeat in progress may overwrite it once
            store.write("driver.json", json.dumps({"id": "another", "host": "elsewhere"}).encode())
    assert json.loads(store.read("driver.json"))["id"] == "another"


def test_heartbeats_keep_a_lease_fresh(store, record, object_store, monkeypatch):
    monkeypatch.setattr(lease_module, "HEARTBEAT", 0.0)
    with Lease(store, record("first")):
        object_store.age(OBJECT, 1000)
        while not is_held(store, record("visitor")):
            time.sleep(0.01)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"\xff"])
def test_a_damaged_lease_is_waited_for_like_any_other(store, record, object_store, content):
    leave_lease(store, record("first"))
    store.write("driver.json", content)
    with pytest.raises(UserError, match=r"on None \(last heartbeat"):
        Lease(store, record("first")).__enter__()
    object_store.age(OBJECT, 61)
    with Lease(store, record("first")) as lease:
        assert not lease.lost


def test_a_refused_driver_releases_its_lock(store, record):
    leave_lease(store, record("first"))
    with pytest.raises(UserError):
        Lease(store, record("second")).__enter__()
    assert try_lock(record("second").with_suffix(".lock")) is not None
