"""The lease of a run in an object store: an object that the run's only driver keeps rewriting.

Its age is measured by the store's clock, so wrong clocks of machines do no harm. A store without conditional writes
cannot decide between two drivers that start at the same moment: the last one to write wins, and the other one notices
at its next heartbeat and stops.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainable.errors import UserError
from trainable.storage.atomic_files import write_json
from trainable.storage.file_locks import is_locked, try_lock
from trainable.storage.object_store import Store, StoreFailed

LEASE, PROBE = "driver.json", "clock"
HEARTBEAT, STALE = 10.0, 60.0  # seconds


def lease_holder(store: Store) -> tuple[Mapping[str, Any], float] | None:
    """The driver that holds the lease and the seconds since its last heartbeat; None without a lease."""
    content, lease = store.read(LEASE), store.entry(LEASE)
    if content is None or lease is None:
        return None
    store.write(PROBE, b"")
    now = store.entry(PROBE)
    return _parse(content), 0.0 if now is None else max(0.0, now.mtime - lease.mtime)


def _parse(content: bytes) -> Mapping[str, Any]:
    """The content of a lease; empty if it is damaged."""
    try:
        lease = json.loads(content)
    except ValueError:
        return {}
    return lease if isinstance(lease, dict) else {}


def is_held(store: Store, local_record: Path) -> bool:
    """Whether a driver holds the lease; for a driver of this machine its lock decides immediately."""
    found = lease_holder(store)
    if found is None or found[1] >= STALE:
        return False
    return not _is_local(found[0], local_record) or is_locked(local_record.with_suffix(".lock"))


def _is_local(holder: Mapping[str, Any], local_record: Path) -> bool:
    """Whether this machine recorded this driver."""
    return local_record.exists() and "id" in holder and _parse(local_record.read_bytes()).get("id") == holder["id"]


class Lease:
    """Held inside ``with``. ``lost``: another driver has taken it; ``inherited``: it belonged to a driver that died on
    another machine.

    ``local_record`` is a file on this machine that names the holder: if its lock is free, that driver is dead and
    its lease can be taken before it becomes stale.
    """

    def __init__(self, store: Store, local_record: Path) -> None:
        self.store, self.local_record = store, local_record
        self.id = secrets.token_hex(8)
        self.lost = self.inherited = False
        self._lock: int | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._send_heartbeats, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self._lock = try_lock(self.local_record.with_suffix(".lock"))
        if self._lock is None:
            raise UserError(f"{self.store.address.plain}: this run is already driven by another process")
        try:
            self._refuse_if_held()
            self._write(self.store)
            write_json(self.local_record, {"id": self.id})
            self._check_holder(self.store)
        except BaseException:
            os.close(self._lock)
            raise
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._thread.join()
        with suppress(StoreFailed):  # the lease becomes stale anyway
            self._check_holder(self.store.patient(0))
            if not self.lost:
                self.store.patient(0).delete(LEASE)
        if self._lock is not None:
            os.close(self._lock)

    def confirm(self) -> bool:
        """Ask the store whether this driver still holds the lease."""
        self._check_holder(self.store)
        return not self.lost

    def _refuse_if_held(self) -> None:
        found = lease_holder(self.store)
        if found is None:
            return
        holder, age = found
        self.inherited = not _is_local(holder, self.local_record)
        if age < STALE and self.inherited:
            raise UserError(
                f"{self.store.address.plain}: this run is already driven by another process, on {holder.get('host')} "
                f"(last heartbeat {age:.0f} s ago); if that process is dead, launch again in {STALE - age:.0f} s"
            )

    def _send_heartbeats(self) -> None:
        store = self.store.patient(0)  # no retries: the next heartbeat is one
        while not self._stopping.wait(HEARTBEAT) and not self.lost:
            with suppress(StoreFailed):
                self._check_holder(store)
                if not self.lost:
                    self._write(store)

    def _check_holder(self, store: Store) -> None:
        self.lost = _parse(store.read(LEASE) or b"").get("id", self.id) != self.id

    def _write(self, store: Store) -> None:
        lease = {"id": self.id, "host": socket.gethostname(), "pid": os.getpid()}
        store.write(LEASE, json.dumps(lease).encode())
