"""TensorBoard: a folder of event files per fold trial, in the run folder; writing needs no server."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from search.tracking.tracker import TrackedTrial, library


def make(folder: Path) -> TensorBoard:
    return TensorBoard(folder / "tensorboard")


class TensorBoard:
    """Logs score and seconds as scalars, parameters as HParams, and the state as text."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.library = library("tensorboardX", "tensorboard")
        self.writers: dict[str, Any] = {}
        self.steps: dict[str, int] = {}

    @property
    def location(self) -> str:
        return f"tensorboard --logdir {self.folder}"

    def open(self, trial: TrackedTrial) -> int:
        folder = self.folder / trial.name
        last_step = _last_step(folder)
        # File names contain the second: without the step, reopening within a second would overwrite the previous file.
        writer = self.library.SummaryWriter(str(folder), filename_suffix=f".{last_step:09d}", flush_secs=10)
        if not last_step:
            values = {"config": trial.config, "fold": trial.fold, **trial.parameters}
            plain = {name: value if isinstance(value, int | float) else str(value) for name, value in values.items()}
            for summary in self.library.summary.hparams(plain, {"score": 0.0})[:2]:
                writer.file_writer.add_summary(summary)
        self.writers[trial.name], self.steps[trial.name] = writer, last_step
        return last_step

    def report(self, trial: TrackedTrial, step: int, score: float, seconds: float, at: float) -> None:
        writer = self.writers[trial.name]
        writer.add_scalar("score", score, step, walltime=at)
        writer.add_scalar("seconds", seconds, step, walltime=at)
        writer.flush()
        self.steps[trial.name] = step

    def close(self, trial: TrackedTrial, state: str, reason: str) -> None:
        writer = self.writers.pop(trial.name)
        writer.add_text("state", f"{state}: {reason}", self.steps.pop(trial.name))
        writer.close()


def _last_step(folder: Path) -> int:
    """The last step with a score in the event files of a folder; a record that a crash cut short is ignored.

    A record is its length (8 bytes), a checksum (4), the event, and another checksum (4).
    """
    event_type = library("tensorboardX.proto.event_pb2", "tensorboard").Event
    last = 0
    for path in folder.glob("events.out.tfevents.*"):
        content, offset = path.read_bytes(), 0
        while offset + 16 <= len(content):
            begin = offset + 12
            offset = begin + struct.unpack_from("<Q", content, offset)[0] + 4
            if offset <= len(content):
                event = event_type.FromString(content[begin : offset - 4])
                if any(value.tag == "score" for value in event.summary.value):
                    last = max(last, event.step)
    return last
