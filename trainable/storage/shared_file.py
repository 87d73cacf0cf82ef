"""A file that every node of a run needs: used where it is visible, otherwise sent once and cached by its hash."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trainable.errors import UserError
from trainable.storage.atomic_files import cache_folder, write_atomically
from trainable.storage.cached_copies import local_file
from trainable.storage.file_locks import locked

PART = 64 * 2**20  # bytes that are in memory at once


@dataclass(frozen=True)
class SharedFile:
    """``name`` is the path or URL as it was given, ``path`` the file on the machine that opened it.

    ``fetch`` downloads it on a node that does not see it.
    """

    name: str
    path: Path
    hash: str
    fetch: Callable[[], Iterable[bytes]] | None = None

    def parts(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while part := file.read(PART):
                yield part

    def place(self) -> Path:
        """The file on this machine; another content than the one that was opened is refused."""
        if _hash(self.path) == self.hash:
            return self.path
        if self.fetch is None:
            raise UserError(f"{self.name}: has changed or is gone since the search was launched")
        kept = cache_folder() / "files" / self.hash
        with locked(kept.with_suffix(".lock")):
            if _hash(kept) != self.hash:
                parts = self.fetch()
                write_atomically(kept, lambda file: file.writelines(parts))
        if _hash(kept) != self.hash:
            raise UserError(f"{kept}: this copy of {self.name} differs from the file that the search was launched with")
        return kept


def open_shared(name: str) -> SharedFile:
    """A file by its path, relative to the working folder, or by its URL; raises if it cannot be read."""
    path = local_file(name).absolute()
    try:
        return SharedFile(name, path, _digest(path))
    except FileNotFoundError:
        raise UserError(f"{name}: there is no such file") from None
    except IsADirectoryError:
        raise UserError(f"{name}: is a folder, not a file") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror})") from None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash(path: Path) -> str | None:
    """None if there is no file that can be read."""
    try:
        return _digest(path)
    except OSError:
        return None
