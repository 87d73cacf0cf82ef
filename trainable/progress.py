"""Progress of a fold: a bar on a terminal, one line per report elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trainable.printing import digits, talk


class Report(Protocol):
    """What is shown of the report of any kind of fold trial."""

    @property
    def step(self) -> int: ...
    @property
    def scores(self) -> dict[str, float]: ...
    @property
    def seconds(self) -> float: ...
    def words(self, brief: bool = False) -> str: ...


class Watcher(Protocol):
    """Callbacks for each step and each report."""

    def step(self, done: int) -> None: ...
    def report(self, report: Report) -> None: ...


class _Bar:
    def __init__(self, progress: Progress, total: int, per_step: float, metric: str) -> None:
        self.progress, self.per_step, self.metric = progress, per_step, metric
        self.task = progress.add_task("training", total=total, words="", score="-", best="-", rate="-")
        self.best = 0.0

    def step(self, done: int) -> None:
        task = self.progress.tasks[self.task]
        rate = f"{task.speed * self.per_step:.0f}" if task.speed else "-"
        self.progress.update(self.task, completed=done, rate=rate)

    def report(self, report: Report) -> None:
        score = report.scores[self.metric]
        self.best = max(self.best, score)
        words, best = report.words(brief=True), digits(self.best)
        self.progress.update(self.task, completed=report.step, words=words, score=digits(score), best=best)


class _Lines:
    def __init__(self, console: Console, total: int, per_step: float, metric: str) -> None:
        self.console, self.total, self.per_step, self.metric = console, total, per_step, metric
        self.before: Report | None = None

    def step(self, done: int) -> None:
        """Steps print no line."""

    def report(self, report: Report) -> None:
        steps, seconds = (self.before.step, self.before.seconds) if self.before else (0, 0.0)
        steps, seconds = report.step - steps, report.seconds - seconds
        left = (self.total - report.step) * seconds / max(1, steps)
        # A report of the same images as the one before took no time, so it has no rate.
        pace = f"  {steps * self.per_step / seconds:.1f} images/s  {_duration(left)} left" if seconds > 0 else ""
        score = f"{self.metric} {digits(report.scores[self.metric])}"
        self.console.print(f"step {report.step}/{self.total}  {report.words()}  {score}{pace}", markup=False)
        self.before = report


@contextmanager
def watch(total: int, per_step: float, metric: str) -> Iterator[Watcher]:
    """A progress display for a fold of ``total`` steps of so many images that is scored by ``metric``."""
    if not talk.is_terminal:
        yield _Lines(talk, total, per_step, metric)
        return
    columns = (
        TextColumn("[bold]step"),
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn(f"{{task.fields[words]}}  {metric} {{task.fields[score]}} (best {{task.fields[best]}})"),
        TextColumn("{task.fields[rate]} images/s"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=talk, speed_estimate_period=60) as progress:
        yield _Bar(progress, total, per_step, metric)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
