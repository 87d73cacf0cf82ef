"""The right to drive a run in an object store: an object that its driver writes again and again.

Whether it is fresh is told by the store's own clock, so no machine's clock matters. A store without conditional
writes cannot decide between two drivers that start in the same moment: who wrote last has it, the other sees that at
its next beat and stops.
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
BEAT, STALE = 10.0, 60.0  # seconds


def lease_holder(store: Store) -> tuple[Mapping[str, Any], float] | None:
    """Who holds the lease, and the seconds since the last beat; None where nobody does."""
    content, written = store.read(LEASE), store.entry(LEASE)
    if content is None or written is None:
        return None
    store.write(PROBE, b"")
    now = store.entry(PROBE)
    return _told(content), 0.0 if now is None else max(0.0, now.mtime - written.mtime)


def _told(content: bytes) -> Mapping[str, Any]:
    """Of what is no lease: nothing."""
    try:
        told = json.loads(content)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def is_held(store: Store, note: Path) -> bool:
    """Whether a driver is at work; of one of this machine its lock tells so at once."""
    found = lease_holder(store)
    if found is None or found[1] >= STALE:
        return False
    return not _is_noted(found[0], note) or is_locked(note.with_suffix(".lock"))


def _is_noted(holder: Mapping[str, Any], note: Path) -> bool:
    """Whether this is the driver that this machine remembers."""
    return note.exists() and "id" in holder and _told(note.read_bytes()).get("id") == holder["id"]


class Lease:
    """Held from ``with`` to its end; ``lost`` once another driver has taken it, ``inherited`` from one that died
    on another machine.

    ``note`` is a file of this machine that remembers the lease: who holds its lock as well knows that the driver
    that it names is dead, and need not wait.
    """

    def __init__(self, store: Store, note: Path) -> None:
        self.store, self.note = store, note
        self.id = secrets.token_hex(8)
        self.lost = self.inherited = False
        self._lock: int | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self._lock = try_lock(self.note.with_suffix(".lock"))
        if self._lock is None:
            raise UserError(f"{self.store.address.plain}: this run is being driven by another process already")
        try:
            self._refuse_another()
            self._write(self.store)
            write_json(self.note, {"id": self.id})
            self._look(self.store)
        except BaseException:
            os.close(self._lock)
            raise
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        with suppress(StoreFailed):  # it goes stale by itself
            self._look(self.store.patient(0))
            if not self.lost:
                self.store.patient(0).delete(LEASE)
        if self._lock is not None:
            os.close(self._lock)

    def _refuse_another(self) -> None:
        found = lease_holder(self.store)
        if found is None:
            return
        holder, seconds = found
        self.inherited = not _is_noted(holder, self.note)
        if seconds < STALE and self.inherited:
            raise UserError(
                f"{self.store.address.plain}: this run is being driven by another process already, on "
                f"{holder.get('host')}, and was {seconds:.0f} s ago; if that has died, launch again in "
                f"{STALE - seconds:.0f} s"
            )

    def _beat(self) -> None:
        store = self.store.patient(0)  # the next beat is the next try
        while not self._over.wait(BEAT) and not self.lost:
            with suppress(StoreFailed):
                self._look(store)
                if not self.lost:
                    self._write(store)

    def _look(self, store: Store) -> None:
        self.lost = _told(store.read(LEASE) or b"").get("id", self.id) != self.id

    def _write(self, store: Store) -> None:
        told = {"id": self.id, "host": socket.gethostname(), "pid": os.getpid()}
        store.write(LEASE, json.dumps(told).encode())
