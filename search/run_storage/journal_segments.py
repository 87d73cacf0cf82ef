"""A journal in an object store, which cannot append: it is split into segments named by the number of their first line.

The last segment is rewritten as it grows; once it is large enough it stays as it is and a new one begins.
"""

import re
from pathlib import Path

from trainable.errors import UserError
from trainable.storage.object_store import Store

FOLDER = "journal"
SEGMENT_BYTES = 1_000_000
NAME = re.compile(r"\d{9,}\.jsonl")


class JournalDiverged(UserError):
    """The journal in the store is not the one that this driver uploaded."""


class SegmentUploader:
    """Uploads what the store lacks of a driver's journal.

    With ``overwrite``, nothing is uploaded until the journal has been rebuilt, and that one replaces the journal in the
    store: the launch may still be refused before.
    """

    def __init__(self, store: Store, journal: Path, overwrite: bool = False) -> None:
        self.address, self.journal = store.address, journal
        sizes = _segment_sizes(store)
        self._first_line, self._uploaded = max(sizes.items(), default=(1, 0))  # of the last segment
        self._offset = sum(sizes.values()) - self._uploaded
        self._inode, self._overwrite = _inode(journal), overwrite

    def push(self, store: Store) -> None:
        """Upload what is new; a journal file that replaced the previous one is uploaded from its start."""
        inode = _inode(self.journal)
        if inode is None or (self._overwrite and inode == self._inode):
            return
        if self._overwrite or self._inode not in (None, inode):
            self._delete_segments(store)
        self._inode, self._overwrite = inode, False
        content = _complete_lines(self.journal, self._offset)
        if len(content) > self._uploaded:
            self._check_last_segment(store, content)
        while len(content) > self._uploaded:
            cut = content.find(b"\n", SEGMENT_BYTES) + 1
            segment = content[:cut] if cut else content
            store.write(_name(self._first_line), segment)
            self._uploaded = len(segment)
            if cut:
                self._offset, self._first_line = self._offset + cut, self._first_line + segment.count(b"\n")
                self._uploaded, content = 0, content[cut:]

    def _check_last_segment(self, store: Store, content: bytes) -> None:
        """Another driver may have taken the run over and finished it while the store was unreachable from here."""
        name = _name(self._first_line)
        entry = store.entry(name)
        if (entry.size if entry else 0) != self._uploaded and not content.startswith(store.read(name) or b""):
            raise JournalDiverged(f"{self.address.plain}: another driver has changed its journal")

    def _delete_segments(self, store: Store) -> None:
        for first_line in _segment_sizes(store):
            store.delete(_name(first_line))
        self._offset, self._first_line, self._uploaded = 0, 1, 0


def pull(store: Store, journal: Path) -> bool:
    """Download what a local copy lacks and return whether it gained anything; a copy that is ahead stays as it is.

    It is an error if the copy and the store have diverged: neither can be trusted over the other.
    """
    local = _complete_lines(journal) if journal.exists() else b""
    sizes, lines, end = _segment_sizes(store), 0, 0
    gained = b""
    for first_line, size in sizes.items():
        if first_line != lines + 1:
            raise UserError(
                f"{store.address.plain}: lines {lines + 1} to {first_line - 1} of its journal are missing; "
                "launch --recover rebuilds it from the fold folders"
            )
        content = local[end : end + size]
        if len(content) < size or first_line == max(sizes):  # earlier segments were compared when they were downloaded
            segment = store.read(_name(first_line)) or b""
            segment = segment[: segment.rfind(b"\n") + 1]
            if not segment.startswith(content[: len(segment)]):
                raise UserError(
                    f"{store.address.plain} and {journal.parent} have diverged at line {first_line} of their journals "
                    "or later: the run was resumed elsewhere. "
                    f"To use the state in the store: rm -r {journal.parent}"
                )
            content = segment
            gained += segment[max(0, len(local) - end) :]
        lines, end = lines + content.count(b"\n"), end + len(content)
    if gained:
        journal.parent.mkdir(parents=True, exist_ok=True)
        with journal.open("r+b" if journal.exists() else "wb") as file:
            file.truncate(len(local))
            file.seek(len(local))
            file.write(gained)
    return bool(gained)


def _name(first_line: int) -> str:
    return f"{FOLDER}/{first_line:09d}.jsonl"


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


def _complete_lines(path: Path, offset: int = 0) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read()
    return content[: content.rfind(b"\n") + 1]


def _segment_sizes(store: Store) -> dict[int, int]:
    """The size of each segment by its first line, in order."""
    entries = store.names(FOLDER, deep=False)
    names = [name.rpartition("/")[2] for name in entries]
    return {int(name[:-6]): entries[f"{FOLDER}/{name}"].size for name in sorted(names) if NAME.fullmatch(name)}
