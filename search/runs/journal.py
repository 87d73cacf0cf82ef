"""The journal: the append-only record of a run, one line of JSON per event, and the single source of truth.

Every record is synced to disk before it takes effect, and has a number and a checksum; those of older versions have
neither. A last line that a crash cut short is ignored; any other damage is an error that names the line.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.errors import UserError
from trainable.storage.checked_json import LineReader, Record, sealed_line

UNCHECKED_VERSION = 1  # of records without a checksum
LOCK_ATTEMPTS, LOCK_PAUSE = 10, 0.05  # half a second
ADVICE = "; launch --recover rebuilds the journal from the fold folders"


@dataclass(frozen=True)
class Line:
    """One record; ``number`` counts lines from 1, ``at`` is the driver's clock in seconds.

    Damage to a record of an older version, which is not ``checked``, may go unnoticed.
    """

    number: int
    kind: str
    fields: Mapping[str, Any]
    at: float
    checked: bool = True


class Journal:
    """A journal that is open for writing, by one process at a time."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.clock = clock
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab+", buffering=0)  # a failed write must not reach the file later
        if not self._locked():
            self._file.close()
            raise UserError(f"{path.parent}: this run is already driven by another process")
        self._number = self._remove_torn_line()

    def append(self, kind: str, **fields: Any) -> None:
        """Write a record and sync it to disk; after an error the file has nothing of it."""
        record = {"at": round(self.clock(), 3), "kind": kind, **fields}
        line = f"{sealed_line(self._number + 1, record)}\n".encode()
        end = self._file.seek(0, os.SEEK_END)
        try:
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(end)
            raise UserError(
                f"{self.path}: cannot be written ({error.strerror}); earlier records are safe:"
                " free some space and launch again"
            ) from error
        self._number += 1

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _locked(self) -> bool:
        """Lock the file for this process; ``is_driven`` of others holds a lock for a moment, which is waited for."""
        for _ in range(LOCK_ATTEMPTS):
            with suppress(BlockingIOError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            time.sleep(LOCK_PAUSE)
        return False

    def _remove_torn_line(self) -> int:
        """Return the number of records."""
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        return content.count(b"\n")


class Tail:
    """Reads a journal incrementally: each call of ``read`` returns the records since the previous call.

    A torn last line is ignored until it is complete; other damage is an error, or a call of ``skipped`` if given. A
    journal that was replaced is read from its start, with records numbered from 1 again, and ``restarted`` is true.
    """

    def __init__(self, path: Path, skipped: Callable[[str], None] | None = None) -> None:
        self.path, self.skipped = path, skipped
        self.restarted = False  # by the last call of read
        self._restart(inode=0)

    def read(self) -> list[Line]:
        self.restarted = False
        try:
            with self.path.open("rb") as file:
                state = os.fstat(file.fileno())
                self.restarted = state.st_ino != self._inode or state.st_size < self._offset
                if self.restarted:
                    self._restart(state.st_ino)
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content.split(b"\n")[:-1]
        try:
            lines = [line for record in self._lines.read(whole) if (line := self._parsed(record))]
        except UserError:
            self._restart(inode=0)
            raise
        self._offset += sum(map(len, whole)) + len(whole)
        return lines

    def grown(self) -> bool:
        """Whether the journal has changed since the last call of ``read``."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            return self._inode != 0
        return state.st_ino != self._inode or state.st_size != self._offset

    def _restart(self, inode: int) -> None:
        self._lines, self._offset, self._inode = LineReader(self.path, self.skipped, ADVICE), 0, inode
        self._other = False  # whether records of another version were found

    def _parsed(self, record: Record) -> Line | None:
        fields = record.fields
        try:
            if record.checked or (version := fields.pop("v")) == UNCHECKED_VERSION:
                return Line(record.number, str(fields.pop("kind")), fields, float(fields.pop("at")), record.checked)
            if not self._other:  # one problem for the whole journal
                self._other = True
                self._lines.damaged(f"is of version {version} from here on, but this program reads versions 1 and 2")
        except (ValueError, KeyError, TypeError):
            self._lines.damaged(f"is damaged{ADVICE}")
        return None


def read_journal(path: Path) -> list[Line]:
    """All records without a torn last line; other damage is an error."""
    return Tail(path).read()


def is_driven(path: Path) -> bool:
    """Whether a process has the journal open for writing."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
