"""A journal in an object store, which cannot append: pieces of it, each named by the number of its first line.

The last piece is written anew as it grows; one that has grown large enough stays as it is, and a new one begins.
"""

from __future__ import annotations

import re
from pathlib import Path

from trainable.errors import UserError
from trainable.storage.object_store import Store

FOLDER = "journal"
FULL = 1_000_000  # bytes
NAME = re.compile(r"\d{9,}\.jsonl")


class JournalDiverged(UserError):
    """The journal in the store is not the one that was sent there."""


class SegmentUploader:
    """The driver's side: brings the store up to what its journal holds. ``anew`` takes the place of what is there."""

    def __init__(self, store: Store, journal: Path, anew: bool = False) -> None:
        self.address, self.journal = store.address, journal
        sizes = _sizes(store)
        self._first, self._sent = max(sizes.items(), default=(1, 0))
        self._start = sum(sizes.values()) - self._sent
        self._inode = -1 if anew else _inode(journal)

    def push(self, store: Store) -> None:
        """Send what is new; a journal that was put in the place of the old one is sent from its start."""
        inode = _inode(self.journal)
        if inode is None:
            return
        if self._inode not in (None, inode):
            self._forget(store)
        self._inode = inode
        content = _whole_lines(self.journal, self._start)
        if len(content) > self._sent:
            self._refuse_another(store, content)
        while len(content) > self._sent:
            cut = content.find(b"\n", FULL) + 1
            piece = content[:cut] if cut else content
            store.write(_name(self._first), piece)
            self._sent = len(piece)
            if cut:
                self._start, self._first, self._sent = self._start + cut, self._first + piece.count(b"\n"), 0
                content = content[cut:]

    def _refuse_another(self, store: Store, content: bytes) -> None:
        """Somebody may have taken the run over and ended it, all while the store was out of reach from here."""
        found = store.entry(_name(self._first))
        if (found.size if found else 0) != self._sent and not content.startswith(store.read(_name(self._first)) or b""):
            raise JournalDiverged(f"{self.address.plain}: its journal is not the one of this driver any more")

    def _forget(self, store: Store) -> None:
        for first in _sizes(store):
            store.delete(_name(first))
        self._start, self._first, self._sent = 0, 1, 0


def pull(store: Store, journal: Path) -> bool:
    """Bring a copy up to what the store holds, and say whether it gained something; one that holds more stays.

    Two that have gone different ways cannot both be the truth, so this is an error.
    """
    here = _whole_lines(journal) if journal.exists() else b""
    sizes, lines, end = _sizes(store), 0, 0
    gained = b""
    for first, size in sizes.items():
        if first != lines + 1:
            raise UserError(
                f"{store.address.plain}: lines {lines + 1} to {first - 1} of its journal are missing; "
                "launch --recover rebuilds it from the fold folders"
            )
        known = here[end : end + size]
        if len(known) < size or first == max(sizes):  # the others were compared when they were fetched
            piece = store.read(_name(first)) or b""
            piece = piece[: piece.rfind(b"\n") + 1]
            if not piece.startswith(known[: len(piece)]):
                raise UserError(
                    f"{store.address.plain} and {journal.parent} have gone different ways, at line {first} of their "
                    "journals or later: the run was gone on with elsewhere. "
                    f"To follow the store: rm -r {journal.parent}"
                )
            known = piece
            gained += piece[max(0, len(here) - end) :]
        lines, end = lines + known.count(b"\n"), end + len(known)
    if gained:
        journal.parent.mkdir(parents=True, exist_ok=True)
        with journal.open("r+b" if journal.exists() else "wb") as file:
            file.truncate(len(here))
            file.seek(len(here))
            file.write(gained)
    return bool(gained)


def _name(first: int) -> str:
    return f"{FOLDER}/{first:09d}.jsonl"


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


def _whole_lines(path: Path, start: int = 0) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        content = file.read()
    return content[: content.rfind(b"\n") + 1]


def _sizes(store: Store) -> dict[int, int]:
    """The size of each piece by its first line, in their order."""
    found = store.names(FOLDER, deep=False)
    names = [name.rpartition("/")[2] for name in found]
    return {int(name[:-6]): found[f"{FOLDER}/{name}"].size for name in sorted(names) if NAME.fullmatch(name)}
