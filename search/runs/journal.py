"""The journal: the append-only record of a run, one line of JSON per event, and the single source of truth.

Every record is synced to disk before it takes effect. A last line that a crash cut short is ignored; any other damage
is an error that names the line.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.errors import UserError

VERSION = 1
Fields = dict[str, Any]
_decode = json.JSONDecoder().decode  # json.loads would detect the encoding of every line


@dataclass(frozen=True)
class Line:
    """One record; ``number`` counts lines from 1, ``at`` is the driver's clock in seconds."""

    number: int
    kind: str
    fields: Mapping[str, Any]
    at: float


class OtherVersion(UserError):
    """A journal of another version, of which no record can be read."""


class Journal:
    """A journal that is open for writing, by one process at a time."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.clock = clock
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab+", buffering=0)  # a failed write must not reach the file later
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise UserError(f"{path.parent}: this run is already driven by another process") from None
        self._remove_torn_line()

    def append(self, kind: str, **fields: Any) -> None:
        """Write a record and sync it to disk; after an error the file has nothing of it."""
        record = {"v": VERSION, "at": round(self.clock(), 3), "kind": kind, **fields}
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
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

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _remove_torn_line(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)


class Tail:
    """Reads a journal incrementally: each call of ``read`` returns the records since the previous call.

    A torn last line is ignored until it is complete; other damage is an error, or a call of ``skipped`` if given. A
    journal that was replaced is read from its start, with records numbered from 1 again.
    """

    def __init__(self, path: Path, skipped: Callable[[str], None] | None = None) -> None:
        self.path, self.skipped = path, skipped
        self._offset = self._number = self._inode = 0

    def read(self) -> list[Line]:
        try:
            with self.path.open("rb") as file:
                state = os.fstat(file.fileno())
                if state.st_ino != self._inode or state.st_size < self._offset:
                    self._offset, self._number, self._inode = 0, 0, state.st_ino
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content.split(b"\n")[:-1]
        lines = list(self._parsed(whole))
        self._number += len(whole)
        self._offset += sum(map(len, whole)) + len(whole)
        return lines

    def _parsed(self, whole: list[bytes]) -> Iterator[Line]:
        for number, line in enumerate(whole, self._number + 1):
            try:
                yield _parse(self.path, number, line)
            except UserError as damage:
                if self.skipped is None:
                    raise
                self.skipped(str(damage))
                if isinstance(damage, OtherVersion):
                    return  # one line for the whole journal


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


def _parse(path: Path, number: int, line: bytes) -> Line:
    try:
        value = _decode(line.decode())
        if (version := value.pop("v")) != VERSION:
            raise OtherVersion(
                f"{path}: is of version {version} from line {number} on, but this program reads version {VERSION}"
            )
        return Line(number, str(value.pop("kind")), value, float(value.pop("at")))
    except (ValueError, KeyError, AttributeError, TypeError):
        raise UserError(
            f"{path}, line {number}: is damaged; launch --recover rebuilds the journal from the fold folders"
        ) from None
