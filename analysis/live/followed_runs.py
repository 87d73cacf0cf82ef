"""All runs below a root, followed by a thread, and the reports that another process writes of those that are open."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any, TypeVar

from analysis.live.followed_run import FollowedRun, Snapshot
from analysis.live.report_page import Built, build, prepare
from search.run_storage.find_runs import all_runs
from trainable.errors import UserError
from trainable.machine.isolated import fresh_processes
from trainable.printing import say
from trainable.storage.urls import is_url

T = TypeVar("T")

LOCAL, REMOTE = 0.2, 10.0  # seconds between two looks at the journals of a folder and of an object store
NEW = 10  # looks between two searches for new runs, when none is unknown
REST = 3.0  # a report is renewed at most once in so many times the seconds that it takes


def report_process() -> Executor:
    """A process that builds reports one after the other; it uses a core for seconds at a time."""
    return fresh_processes(1)


class FollowedRuns:
    """``changed`` is called from other threads with the name of a run and what is new: "run" or "report".

    ``new_pool`` makes what builds the reports, again whenever its process was killed.
    """

    def __init__(
        self, root: str, changed: Callable[[str, str], None], new_pool: Callable[[], Executor] = report_process
    ) -> None:
        self.root, self.changed, self._new_pool, self._pool = root, changed, new_pool, new_pool()
        self.reports: dict[str, Built] = {}
        self.problem = ""
        self._runs: dict[str, FollowedRun] = {}
        self._open: Counter[str] = Counter()
        self._pending: dict[str, Future[Built]] = {}
        self._next: dict[str, float] = {}  # when the report of a run may be built again
        self._lock = threading.RLock()  # a report that fails at once calls back while it is held
        self._over, self._read_once = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="runs", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._submit(prepare)

    def stop(self) -> None:
        self._over.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def snapshots(self) -> dict[str, Snapshot]:
        return {name: followed.snapshot for name, followed in self._runs.items()}

    def wait(self, seconds: float) -> None:
        """Until every run has been read once, or for so long."""
        self._read_once.wait(seconds)

    def open(self, name: str) -> None:
        """Someone looks at this run's report."""
        self._open[name] += 1
        self._renew()

    def close(self, name: str) -> None:
        self._open[name] -= 1

    def report(self, name: str) -> Future[Built]:
        """The report that is being built, a new one if there is none."""
        with self._lock:
            return self._pending.get(name) or self._build(name, images=False)

    def _follow(self) -> None:
        looks, said = 0, ""
        while True:
            try:
                self._look(search=looks % NEW == 0)
            except Exception as error:  # noqa: BLE001  one look that fails must not end all others
                if repr(error) != said and not self._over.is_set():
                    said = repr(error)
                    say(f"following the runs in {self.root} failed: {said}")
            self._read_once.set()
            looks += 1
            if self._over.wait(REMOTE if is_url(self.root) else LOCAL):
                return

    def _look(self, search: bool) -> None:
        try:
            if search:
                for run in all_runs(self.root):
                    self._runs.setdefault(run.name, FollowedRun(run))
            self.problem = ""
        except (UserError, OSError) as error:
            self.problem = str(error)
        for name, followed in list(self._runs.items()):
            if followed.read():
                self.changed(name, "run")
        self._renew()

    def _renew(self) -> None:
        """Build the reports that are open and have become old."""
        now = time.monotonic()
        with self._lock:
            for name in [name for name, count in self._open.items() if count > 0]:
                snapshot, built = self.snapshots().get(name), self.reports.get(name)
                if snapshot is None or name in self._pending or now < self._next.get(name, 0.0):
                    continue
                if built is None or built.version < snapshot.version or (not snapshot.running and not built.images):
                    fresh = built is not None and built.version >= snapshot.version
                    self._build(name, images=fresh and not snapshot.running)

    def _build(self, name: str, images: bool) -> Future[Built]:
        version = self.snapshots()[name].version
        future = self._pending[name] = self._submit(build, name, self.root, version, images)
        future.add_done_callback(lambda done: self._built(name, done))
        return future

    def _submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        try:
            return self._pool.submit(work, *arguments)
        except BrokenExecutor:  # its process was killed, for example for lack of memory
            self._pool = self._new_pool()
            return self._pool.submit(work, *arguments)

    def _built(self, name: str, done: Future[Built]) -> None:
        with self._lock:
            self._pending.pop(name, None)
            if done.cancelled():
                return
            if (error := done.exception()) is not None:
                self._next[name] = time.monotonic() + 10
                say(f"the report of {name} failed: {error!r}")
                return
            built = done.result()
            self.reports[name] = built
            self._next[name] = time.monotonic() + REST * built.seconds
        self.changed(name, "report")
