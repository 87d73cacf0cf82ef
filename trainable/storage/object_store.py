"""A prefix in an object store, used like a shared folder for a run or a data set.

Objects are written atomically and cannot be appended to. Transient faults (no connection, a busy or restarting server)
are retried for a while. Credentials come from the usual chain.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from trainable.errors import StorageFull
from trainable.storage.atomic_files import write_atomically
from trainable.storage.s3_client import NotThere, Trouble, brief, filesystem, lasting, with_known_errors
from trainable.storage.urls import StoreUrl, read_url

PATIENCE = 90.0  # seconds for which a store may be unreachable
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0

Result = TypeVar("Result")


class StoreFailed(StorageFull):
    """The store cannot be reached, or refuses access as it is configured."""


@dataclass(frozen=True)
class Entry:
    """An object as the store lists it; ``mtime`` is in seconds of the store's clock."""

    size: int
    mtime: float


class Store:
    """Names are relative to the prefix, with ``/`` between their parts."""

    def __init__(
        self,
        url: str | StoreUrl,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.address = url if isinstance(url, StoreUrl) else read_url(url)
        self.patience, self.clock, self.sleep = patience, clock, sleep

    @property
    def url(self) -> str:
        """Contains no secret, and everything that another machine needs to find the same place."""
        return str(self.address)

    def under(self, *names: str) -> Store:
        return Store(self.address.under(*names), self.patience, self.clock, self.sleep)

    def patient(self, seconds: float) -> Store:
        """The same place with another time limit for retries."""
        return Store(self.address, seconds, self.clock, self.sleep)

    def put(self, local: Path, name: str) -> None:
        self.write(name, local.read_bytes())  # read first, so that a read error cannot leave half an object

    def write(self, name: str, content: bytes) -> None:
        def send() -> None:
            with self._files.open_output_stream(self._key(name)) as target:
                target.write(content)

        self._tried(lambda: with_known_errors(send))

    def get(self, name: str, local: Path) -> None:
        """Download into a file, atomically."""

        def receive(file: IO[bytes]) -> None:
            with self._opened(name) as source:
                while chunk := with_known_errors(lambda: source.read(1 << 20)):
                    file.write(chunk)

        self._tried(lambda: write_atomically(local, receive))

    def read(self, name: str) -> bytes | None:
        """None if there is no such object."""

        def receive() -> bytes:
            with self._opened(name) as source:
                content: bytes = with_known_errors(source.read)
                return content

        try:
            return self._tried(receive)
        except NotThere:
            return None

    def entry(self, name: str) -> Entry | None:
        found = self._tried(lambda: with_known_errors(lambda: self._files.get_file_info(self._key(name))))
        return _entry(found) if found.is_file else None

    def names(self, below: str = "", deep: bool = True) -> dict[str, Entry]:
        """All objects below a folder of the prefix; without ``deep`` only those directly in it."""
        found = self._listed(below, deep)
        return {self._name(each): _entry(each) for each in found if each.is_file}

    def folders(self) -> list[str]:
        """The first parts of names that have several parts."""
        return sorted(self._name(each) for each in self._listed("", deep=False) if not each.is_file)

    def delete(self, name: str) -> None:
        """Deleting an object that does not exist is not an error."""
        try:
            self._tried(lambda: with_known_errors(lambda: self._files.delete_file(self._key(name))))
        except NotThere:
            return

    @property
    def _files(self) -> Any:
        return filesystem(self.address.endpoint, self.address.region, self.address.bucket)

    def _key(self, name: str) -> str:
        return "/".join(filter(None, (self.address.bucket, self.address.prefix, name)))

    def _name(self, found: Any) -> str:
        name: str = found.path.removeprefix(self._key("") + "/")
        return name

    def _listed(self, below: str, deep: bool) -> list[Any]:
        from pyarrow.fs import FileSelector

        # With allow_not_found, a bucket that does not exist would look like an empty one.
        selector = FileSelector(self._key(below), recursive=deep, allow_not_found=False)
        try:
            found: list[Any] = self._tried(lambda: with_known_errors(lambda: self._files.get_file_info(selector)))
        except NotThere:
            return []
        return found

    def _opened(self, name: str) -> Any:
        return with_known_errors(lambda: self._files.open_input_stream(self._key(name)))

    def _tried(self, work: Callable[[], Result]) -> Result:
        began, pause = self.clock(), FIRST_PAUSE
        while True:
            try:
                return work()
            except Trouble as trouble:
                if problem := lasting(trouble, self.address):
                    raise StoreFailed(problem) from None
                waited = self.clock() - began
                if waited + pause > self.patience:
                    raise StoreFailed(
                        f"{self.address.plain}: cannot be reached, tried for {waited:.0f} s ({brief(trouble)})"
                    ) from None
            self.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _entry(found: Any) -> Entry:
    return Entry(int(found.size), found.mtime_ns / 1e9)
