"""The fold loop as a Ray Tune trainable: reports become Tune results here, and nothing is decided.

The state of a trial is in its fold's folder, so Tune keeps no checkpoint of its own: an actor that is restarted after
a fault resumes from the folder.
"""

import atexit
import contextlib
import errno
import faulthandler
import gc
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import ray
from ray import tune

from trainable.data.shipment import Shipment
from trainable.errors import CacheFailed, FoldFailed, StorageFull, UserError, WrongMachine
from trainable.storage.atomic_files import cache_folder
from trainable.storage.object_store import StoreFailed
from trainable.training.fold_log import note

HANG_FILE = "hang.txt"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

Result = dict[str, Any]
Reports = Generator[Result, None, None]


def packed(values: Mapping[str, Any]) -> dict[str, str]:
    """A job or result as a single string: Tune copies, flattens, averages and writes every value that it sees."""
    return {"packed": json.dumps(values)}


def unpacked(values: Mapping[str, Any]) -> Result:
    found: Result = json.loads(values["packed"])
    return found


class FoldTrial(tune.Trainable):
    """Runs one job: (config, fold, until)."""

    def setup(self, config: dict[str, Any], shipment: Shipment | None = None) -> None:
        # Imported here, so that a node without it fails to start the worker, instead of crashing the fold later.
        gc.disable()  # it would traverse all that is imported again and again
        import_module("trainable.scripted" if shipment is None else "trainable.training.fold")
        gc.enable()
        if not gc.get_freeze_count():  # modules are no garbage: a collection between jobs takes half a second with them
            gc.freeze()
            atexit.register(gc.unfreeze)  # some modules report what is not released at the end
        self.reports = _nothing()
        self.job, carried = _settled(unpacked(config))
        job = self.job
        self.watchdog = Watchdog(Path(job["folder"]), job["hang_seconds"], job["hang_factor"])
        alive = self.watchdog.alive
        training = _scripted(job, alive) if shipment is None else _trained(job, shipment, alive)
        self.reports = carried(_logged(job, training))
        self.arrived = False

    def __repr__(self) -> str:
        """The name in the dashboard's list of actors, which keeps what Ray is told when an actor starts."""
        job = getattr(self, "job", None)  # none if it failed to start, which Ray puts into words with this name
        if job is None:
            return type(self).__name__
        return f"{job['run']}: config {job['config_id']} fold {job['fold']} first"

    def step(self) -> dict[str, str]:
        # The process has the name of the current job, for the dashboard's list of workers.
        ray._raylet.setproctitle(f"ray::{self.job['run']} config {self.job['config_id']} fold {self.job['fold']}")
        if not self.arrived:
            _check_machine(self.job)
            self.arrived = True
        result = self._step()
        if "step" not in result and "pretraining" not in result:
            self.cleanup()  # the actor may be idle now and must not hold memory
        return packed({**result, "node": _node()})

    def _step(self) -> Result:
        try:
            with self.watchdog.watching():
                result: Result | None = next(self.reports, None)
        except StorageFull as problem:
            return {"storage": str(problem), "local": self._is_local(problem)}
        except (FoldFailed, UserError) as failure:
            # A retry would fail as well; the search decides what happens to the fold.
            reason = failure.reason if isinstance(failure, FoldFailed) else "refused"
            return {"failed": reason, "message": str(failure)}
        except OSError as problem:
            if problem.errno not in FULL:
                raise
            where = problem.filename or self.job["folder"]
            return {"storage": f"{where}: cannot be written ({problem.strerror})", "local": self._is_local(problem)}
        return {"ended": True} if result is None else result

    def _is_local(self, problem: StorageFull | OSError) -> bool:
        """Whether only this node has the problem: with its cache, or with its copies of a run in an object store."""
        if isinstance(problem, StoreFailed):
            return False
        path = problem.filename if isinstance(problem, OSError) else None
        in_cache = isinstance(path, str) and Path(path).is_relative_to(cache_folder())
        return in_cache or isinstance(problem, CacheFailed) or "store" in self.job

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        """Release everything the job held, so that the next job of this process has all memory.

        What cannot be saved because a disk is full is trained again: the next job is not to blame, and will report it.
        """
        try:
            self.reports.close()
        except (StorageFull, OSError) as problem:
            if isinstance(problem, OSError) and problem.errno not in FULL:
                raise
        self.reports = _nothing()
        if "torch" in sys.modules:  # a scripted fold trial never loads it
            from trainable.machine.device import release_memory

            release_memory()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """The fold's folder is the checkpoint."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """The fold's folder is the checkpoint."""


class Watchdog:
    """Kills this process when a fold makes no progress, even inside C code, and records where it hung.

    Progress is a step, not a report, since a report may take an hour on a slow machine. The time limit is a multiple of
    the slowest step so far, and at least the configured minimum.
    """

    def __init__(self, folder: Path, seconds: float, factor: float) -> None:
        self.path, self.seconds, self.factor = folder / HANG_FILE, seconds, factor
        self.file: IO[str] | None = None
        self.armed = 0.0

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._keep_trace()
        with self.path.open("w") as self.file:
            self._arm()
            try:
                yield
            finally:
                faulthandler.cancel_dump_traceback_later()
                self.file = None
                self.path.unlink(missing_ok=True)

    def alive(self, step: int) -> bool:
        """Called after each step; always continues the fold."""
        waited = time.monotonic() - self.armed
        if self.file is not None and waited > 1.0:
            self.seconds = max(self.seconds, self.factor * waited)
            self._arm()
        return True

    def _keep_trace(self) -> None:
        """The stack trace that an earlier watchdog wrote when it killed its process."""
        trace = self.path.read_text() if self.path.exists() else ""
        if trace:
            note(self.path.parent, f"was killed by the watchdog, hanging here:\n{trace}")

    def _arm(self) -> None:
        self.armed = time.monotonic()
        faulthandler.dump_traceback_later(self.seconds, exit=True, file=self.file or sys.stderr)


def _nothing() -> Generator[Result, None, None]:
    yield from ()


def _settled(job: Result) -> tuple[Result, Callable[[Reports], Reports]]:
    """Where the job trains: in the fold's folder, or in a local one if the run is in an object store."""
    if "store" not in job:
        return job, lambda reports: reports
    from trainable.storage.node_folder import Workplace
    from trainable.storage.object_store import Store

    place = Workplace(Store(job["store"]).under("configs", job["config_id"], f"fold_{job['fold']}"))
    return {**job, "folder": str(place.folder)}, place.carry


def _check_machine(job: Result) -> None:
    """A node that does not mount the runs would create their folder locally, and its results would be lost.

    Ray starts no worker on a node that is being drained, but Tune still reuses its idle actors.
    """
    node = _node()
    if node is not None and node in ray._private.state.state.get_draining_nodes():
        raise WrongMachine(f"{socket.gethostname()} is being drained", node)
    if "store" not in job and not Path(job["journal"]).exists():
        raise WrongMachine(
            f"{job['journal']}: does not exist on {socket.gethostname()}, which does not see the run", node
        )


def _node() -> str | None:
    """Ray's id of this node, if Ray is running."""
    return str(ray.get_runtime_context().get_node_id()) if ray.is_initialized() else None


def _logged(job: dict[str, Any], reports: Generator[Result, None, None]) -> Generator[Result, None, None]:
    """Log where a fold is trained and how it crashed, if it did."""
    folder = Path(job["folder"])
    ids = ray.get_gpu_ids() if ray.is_initialized() else []  # asking would start Ray if it is not running
    gpus = f", GPU {', '.join(map(str, ids))}" if ids else ""
    note(folder, f"process {os.getpid()} on {socket.gethostname()}{gpus}")
    try:
        yield from reports
    except FoldFailed:
        raise  # the fold has logged it
    except UserError as problem:
        note(folder, f"refused: {problem}")
        raise
    except Exception:
        note(folder, f"crashed:\n{traceback.format_exc()}")
        raise


def _scripted(job: dict[str, Any], alive: Callable[[int], bool]) -> Generator[Result, None, None]:
    from trainable.scripted import Script, run_script, run_stage

    script = Script(**{name: value for name, value in job["values"].items() if name in Script.model_fields})
    folder = Path(job["folder"])
    yield from run_stage(script, job["values"], job["fold"], folder, Path(job["journal"]).parent)
    metric, gpus = job.get("metric", "miou"), job["gpus"] or 1.0
    yield from run_script(script, job["fold"], folder, job["until"], alive, metric, gpus)


def _trained(job: dict[str, Any], shipment: Shipment, alive: Callable[[int], bool]) -> Generator[Result, None, None]:
    import torch

    from trainable.jobs import JOBS
    from trainable.machine.device import is_out_of_memory, limit_memory, pick_device

    torch.set_num_threads(job["threads"])
    try:
        if job["gpus"]:
            limit_memory(job["memory"])
        device = pick_device("auto" if job["gpus"] else "cpu")  # Ray shows all GPUs to a job that reserves none
    except UserError as problem:
        raise WrongMachine(f"{socket.gethostname()}: {problem}", _node()) from problem
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise FoldFailed("out_of_memory", "the GPU is full before the first step", 0) from error
    yield from JOBS[job.get("trainable", "fold")](job, shipment, device, alive)
