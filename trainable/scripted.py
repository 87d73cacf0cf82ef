"""A fold trial that follows a script instead of training: curves, delays and faults on demand, in milliseconds.

It behaves like the fold loop (a report per evaluation, a folder to resume from, the last report repeated first), so
that everything that runs fold trials can be tested with any fault and without torch. Its files survive crashed
processes but are not synced: power cuts are not simulated, and syncing is slow.
"""

import errno
import hashlib
import json
import math
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from trainable.config import made_of
from trainable.errors import FoldFailed, UserError
from trainable.printing import digits
from trainable.storage.atomic_files import TEMPORARY
from trainable.storage.checked_json import append_record, document_of, read_checked, read_lines, text_of
from trainable.training.fold_log import note

STATE = "last.json"


class Script(BaseModel):
    """What a scripted fold trial does; its scores are a function of (quality, noise, fold, step) alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quality: float = Field(0.8, description="score at the end of the horizon, before noise")
    noise: float = Field(0.0, ge=0, description="standard deviation of the noise per fold")
    seed: int = Field(0, ge=0, description="seed of the noise")
    steps: int = Field(4, ge=1, description="the horizon")
    evaluations: int = Field(4, ge=1, description="reports, evenly spaced")
    step_seconds: float = Field(0.0, ge=0, description="time that a step takes")
    fault: Literal["none", "crash", "kill", "hang", "nan", "out_of_memory", "disk_full"] = Field(
        "none", description="what goes wrong"
    )
    fault_step: int = Field(1, ge=1, description="the step at which it goes wrong")
    fault_folds: tuple[int, ...] | None = Field(None, description="the folds in which it goes wrong; none means all")
    fault_times: int = Field(1, ge=0, description="how often, after which the fold succeeds")
    pretraining: Literal["none", "dino"] = Field("none", description="a stage before the first step")
    pretraining_epochs: int = Field(100, ge=1, description="results of that stage")
    pretraining_seconds: float = Field(0.0, ge=0, description="time that an epoch of it takes")
    pretraining_fault: Literal["none", "kill"] = Field(
        "none", description="what goes wrong in its second epoch, once per encoder"
    )

    def report_steps(self, until: int) -> list[int]:
        count = min(self.evaluations, self.steps)
        return [step for k in range(1, count + 1) if (step := round(k * self.steps / count)) <= until]

    def score(self, fold: int, step: int) -> float:
        """A curve that rises to the quality, plus noise per config and fold."""
        rng = random.Random(f"{self.seed} {self.quality} {fold}")
        return self.quality * (1 - math.exp(-4 * step / self.steps)) + rng.gauss(0, self.noise)


def run_script(
    script: Script,
    fold: int,
    folder: Path,
    until: int,
    keep_going: Callable[[int], bool] = lambda step: True,
    metric: str = "miou",
    gpus: float = 1.0,
) -> Iterator[dict[str, Any]]:
    """Follow the script from the folder's state to step ``until``, with a checkpoint at each report."""
    folder.mkdir(parents=True, exist_ok=True)
    state = _load(folder)
    _align_reports(folder / "metrics.jsonl", state["step"])
    note(folder, f"scripted fold {fold}, from step {state['step']} of {script.steps}")
    if state["report"] is not None:
        yield state["report"]
    while state["step"] < min(until, script.steps):
        began = time.perf_counter()
        _misbehave(script, fold, state["step"] + 1, folder)
        time.sleep(script.step_seconds)
        state["step"] += 1
        state["seconds"] += max(time.perf_counter() - began, script.step_seconds)
        if state["step"] in script.report_steps(script.steps):
            state["report"] = {
                "step": state["step"],
                "score": script.score(fold, state["step"]),
                "seconds": state["seconds"],
                "finished": state["step"] == script.steps,
            }
            line = {**state["report"], metric: state["report"]["score"], **({} if gpus == 1.0 else {"gpus": gpus})}
            append_record(folder / "metrics.jsonl", line)
            _write_text(folder / STATE, document_of(state))
            note(folder, f"step {state['step']}: score {digits(state['report']['score'])}")
            yield state["report"]
        if not keep_going(state["step"]):
            return


def run_stage(script: Script, values: Mapping[str, Any], fold: int, folder: Path, root: Path) -> Iterator[Any]:
    """The results of pre-training, which all configs that agree in what decides it share; nothing without it."""
    decisive = made_of(values)
    if decisive is None or (folder / STATE).exists():
        return
    name = hashlib.sha256(json.dumps([decisive, fold], sort_keys=True).encode()).hexdigest()[:16]
    product, progress, fault = (root / "pretraining" / name / file for file in ("made.json", "last.json", "fault"))
    product.parent.mkdir(parents=True, exist_ok=True)
    began, epochs = time.perf_counter(), script.pretraining_epochs
    done = json.loads(progress.read_text()) if progress.exists() else 0
    while not product.exists():
        if done == 1 and script.pretraining_fault == "kill" and not fault.exists():
            fault.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(script.pretraining_seconds)
        done += 1
        note(folder, f"pre-training, epoch {done} of {epochs}")
        _write(progress if done < epochs else product, done)
        seconds = time.perf_counter() - began
        yield {"pretraining": {"ready": False, "epoch": done, "of": epochs, "seconds": seconds}}
    seconds = time.perf_counter() - began if done == epochs else 0.0
    yield {"pretraining": {"ready": True, "seconds": seconds}}


def _load(folder: Path) -> dict[str, Any]:
    """The state of the folder; the script starts again if it is damaged."""
    if (folder / STATE).exists():
        try:
            return read_checked(folder / STATE, "starts again")
        except UserError as damage:
            note(folder, str(damage))
    return {"step": 0, "seconds": 0.0, "report": None}


def _align_reports(path: Path, step: int) -> None:
    """Drop reports newer than the state; the script repeats them."""
    if path.exists():
        records = read_lines(path, partial(note, path.parent))
        _write_text(path, text_of(each for each in records if each["step"] <= step))


def _write(path: Path, value: Any) -> None:
    _write_text(path, json.dumps(value))


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f"{TEMPORARY}{path.name}")
    partial.write_text(text)
    partial.replace(path)


def _misbehave(script: Script, fold: int, step: int, folder: Path) -> None:
    if script.fault == "none" or step != script.fault_step:
        return
    if script.fault_folds is not None and fold not in script.fault_folds:
        return
    marks = folder / "faults.json"
    times = json.loads(marks.read_text()) if marks.exists() else 0
    if times >= script.fault_times:
        return
    _write(marks, times + 1)
    if script.fault == "crash":
        raise RuntimeError(f"the script says crash at step {step}")
    if script.fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if script.fault == "hang":
        time.sleep(1e6)
    if script.fault == "disk_full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / STATE))
    failure = FoldFailed(script.fault, f"the script says {script.fault} at step {step}", step)
    note(folder, f"failed: {failure.message}")
    raise failure
