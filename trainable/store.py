"""A prefix in an object store, which takes the place of a shared disk for a run or a data set.

An object is there whole or not at all, so nothing needs a rename; it cannot be appended to. Whatever passes by itself
(no connection, a server that is busy or restarts) is tried again for a while. Credentials come from the usual chain.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeVar

from trainable.errors import StorageFull
from trainable.files import write_atomically
from trainable.store_url import CHAIN, StoreUrl, read_url

PATIENCE = 90.0  # seconds for which a store may be away
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
DENIED = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|EXPIRED_TOKEN|CLIENT_TOKEN|UNRECOGNIZED_CLIENT"
    r"|AUTHENTICATION|INVALID_TOKEN|\(HTTP status 40[13]\)"
)
PASSING = re.compile(r"\(HTTP status (408|429|5\d\d)\)")

Result = TypeVar("Result")


class StoreFailed(StorageFull):
    """A store that cannot be used, for now or as it is set up: nothing is wrong with what was asked of it."""


class NotThere(Exception):
    """There is no such object."""


class _Trouble(Exception):
    """What pyarrow said of the store; apart from the errors of the disk that a file is written to."""


@dataclass(frozen=True)
class Entry:
    """An object by the store's own words; ``mtime`` is by the store's clock, in seconds."""

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
        """Holds no secret, and all that another machine needs to find the same place."""
        return str(self.address)

    def under(self, *names: str) -> Store:
        return Store(self.address.under(*names), self.patience, self.clock, self.sleep)

    def patient(self, seconds: float) -> Store:
        """The same place for somebody who waits so long for it."""
        return Store(self.address, seconds, self.clock, self.sleep)

    def put(self, local: Path, name: str) -> None:
        self.write(name, local.read_bytes())  # read first: what fails in the middle would be sent by half

    def write(self, name: str, content: bytes) -> None:
        def send() -> None:
            with self._files.open_output_stream(self._key(name)) as target:
                target.write(content)

        self._tried(lambda: _said(send))

    def get(self, name: str, local: Path) -> None:
        """Into a file that is whole or not there."""

        def receive(file: IO[bytes]) -> None:
            with self._opened(name) as source:
                while chunk := _said(lambda: source.read(1 << 20)):
                    file.write(chunk)

        self._tried(lambda: write_atomically(local, receive))

    def read(self, name: str) -> bytes | None:
        """None where there is no such object."""

        def receive() -> bytes:
            with self._opened(name) as source:
                content: bytes = _said(source.read)
                return content

        try:
            return self._tried(receive)
        except NotThere:
            return None

    def entry(self, name: str) -> Entry | None:
        found = self._tried(lambda: _said(lambda: self._files.get_file_info(self._key(name))))
        return _entry(found) if found.is_file else None

    def names(self, below: str = "", deep: bool = True) -> dict[str, Entry]:
        """All objects below a folder of the prefix; without ``deep`` only those that lie right in it."""
        found = self._listed(below, deep)
        return {self._name(each): _entry(each) for each in found if each.is_file}

    def folders(self) -> list[str]:
        """The first parts of names that have several."""
        return sorted(self._name(each) for each in self._listed("", deep=False) if not each.is_file)

    def delete(self, name: str) -> None:
        """An object that is gone already is no error."""
        try:
            self._tried(lambda: _said(lambda: self._files.delete_file(self._key(name))))
        except NotThere:
            return

    @property
    def _files(self) -> Any:
        return _filesystem(self.address.endpoint, self.address.region, self.address.bucket)

    def _key(self, name: str) -> str:
        return "/".join(filter(None, (self.address.bucket, self.address.prefix, name)))

    def _name(self, found: Any) -> str:
        name: str = found.path.removeprefix(self._key("") + "/")
        return name

    def _listed(self, below: str, deep: bool) -> list[Any]:
        from pyarrow.fs import FileSelector

        # Allowed not to be found, a bucket that does not exist would be an empty one.
        selector = FileSelector(self._key(below), recursive=deep, allow_not_found=False)
        try:
            found: list[Any] = self._tried(lambda: _said(lambda: self._files.get_file_info(selector)))
        except NotThere:
            return []
        return found

    def _opened(self, name: str) -> Any:
        return _said(lambda: self._files.open_input_stream(self._key(name)))

    def _tried(self, work: Callable[[], Result]) -> Result:
        began, pause = self.clock(), FIRST_PAUSE
        while True:
            try:
                return work()
            except _Trouble as trouble:
                self._raise_if_lasting(str(trouble))
                waited = self.clock() - began
                if waited + pause > self.patience:
                    raise StoreFailed(
                        f"{self.address.plain}: cannot be reached, tried for {waited:.0f} s ({_brief(str(trouble))})"
                    ) from None
            self.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _raise_if_lasting(self, said: str) -> None:
        bucket = f"s3://{self.address.bucket}"
        if re.search("NO_SUCH_BUCKET|Bucket '.*' not found", said):
            raise StoreFailed(f"{bucket}: this bucket does not exist; make it first, or name another one")
        if DENIED.search(said):
            raise StoreFailed(f"{self.address.plain}: access denied: {CHAIN}")
        if "HTTP status 301" in said:
            raise StoreFailed(f"{bucket}: is in another region; name it: ?region=...")
        if re.search(r"\(HTTP status 4\d\d\)", said) and not PASSING.search(said):
            raise StoreFailed(f"{self.address.plain}: refuses the request ({_brief(said)})")


def _said(work: Callable[[], Result]) -> Result:
    """Tell what goes wrong with the store from what goes wrong with a file of this machine."""
    try:
        return work()
    except FileNotFoundError as error:
        if error.filename is not None:  # a file of this machine, by the system's own words
            raise
        raise NotThere(str(error)) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise _Trouble(str(error)) from None


def _entry(found: Any) -> Entry:
    return Entry(int(found.size), found.mtime_ns / 1e9)


def _brief(said: str) -> str:
    """The part of pyarrow's message that names the fault."""
    match = re.search(r"AWS Error ([A-Z_]+(?: \(HTTP status \d+\))?)", said)
    return match.group(1) if match else said.splitlines()[0][:120]


@cache
def _filesystem(endpoint: str, region: str, bucket: str) -> Any:
    from pyarrow import fs  # late: it takes a while, and most runs lie on a disk

    scheme, _, host = endpoint.partition("://")
    if not region and not endpoint:
        region = _said(lambda: fs.resolve_s3_region(bucket))
    return fs.S3FileSystem(
        endpoint_override=host or None,
        scheme=scheme or "https",
        region=region or "us-east-1",
        connect_timeout=5,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
        allow_delayed_open=True,  # a small object is sent in one request
    )
