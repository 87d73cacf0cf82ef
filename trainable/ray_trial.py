"""The fold loop as a Ray Tune trainable: the only place where a report becomes a result. It decides nothing.

A trial's truth lies in its fold's folder, so Tune has no checkpoint of its own to keep: an actor that comes back
after any fault goes on from the folder.
"""

from __future__ import annotations

import contextlib
import faulthandler
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray import tune

from trainable.errors import FoldFailed, UserError

HANG_FILE = "hang.txt"

Result = dict[str, Any]


class FoldTrial(tune.Trainable):
    """One job: (config, fold, until), as the search hands it out."""

    def setup(self, config: dict[str, Any]) -> None:
        self.job = config
        self.reports = _reports(config)
        self.limit: float = config["hang_seconds"]

    def step(self) -> Result:
        began = time.monotonic()
        try:
            with _killed_after(self.limit, Path(self.job["folder"])):
                result = next(self.reports, None)
        except (FoldFailed, UserError) as failure:
            # Trying again would end the same: it is for the search to say what becomes of the fold.
            reason = failure.reason if isinstance(failure, FoldFailed) else "refused"
            return {"failed": reason, "message": str(failure)}
        # A fold that has shown its pace is given a multiple of it, and never less than was asked for at first.
        self.limit = max(self.limit, self.job["hang_factor"] * (time.monotonic() - began))
        return {"ended": True} if result is None else result

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        with contextlib.suppress(AttributeError):
            self.reports.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """The fold's folder is the checkpoint."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """The fold's folder is the checkpoint."""


def _reports(job: dict[str, Any]) -> Any:
    return _LOOPS[job["trainable"]](job)


def _scripted(job: dict[str, Any]) -> Iterator[Result]:
    from trainable.scripted import Script, run_script

    told = {name: value for name, value in job["values"].items() if name in Script.model_fields}
    yield from run_script(Script(**told), job["fold"], Path(job["folder"]), job["until"])


def _trained(job: dict[str, Any]) -> Iterator[Result]:
    import torch

    from trainable.cache import open_data
    from trainable.config import make_config
    from trainable.fold import train_fold
    from trainable.folds import load_folds

    if job["threads"]:
        torch.set_num_threads(job["threads"])
    config = make_config(job["values"])
    data = open_data(Path(job["data"]), config.size, job["split"])
    folds = load_folds(Path(job["folds"]), data.hash)
    reports = train_fold(config, data, folds, job["fold"], Path(job["folder"]), until=job["until"])
    with contextlib.closing(reports):  # type: ignore[type-var]
        for report in reports:
            score = report.scores[job["metric"]]
            step = config.steps if report.finished else report.step
            yield {"step": step, "score": score, "seconds": report.seconds, "finished": report.finished}


_LOOPS = {"scripted": _scripted, "fold": _trained}


@contextlib.contextmanager
def _killed_after(seconds: float, folder: Path) -> Iterator[None]:
    """Kill this process if the block hangs, even inside C code, leaving in the fold's folder where it hung."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / HANG_FILE).open("w") as file:
        faulthandler.dump_traceback_later(seconds, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            (folder / HANG_FILE).unlink(missing_ok=True)
