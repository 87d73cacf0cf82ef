"""Progress of a fold: a bar on a terminal, one line per report elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trainable.printing import talk

if TYPE_CHECKING:
    from trainable.training.trial import Report


class Watcher(Protocol):
    """Callbacks for each step and each report."""

    def step(self, done: int) -> None: ...
    def report(self, report: Report) -> None: ...


class _Bar:
    def __init__(self, progress: Progress, total: int, batch_size: int, metric: str) -> None:
        self.progress, self.batch_size, self.metric = progress, batch_size, metric
        self.task = progress.add_task("training", total=total, loss="-", score="-", best="-", rate="-")
        self.best = 0.0

    def step(self, done: int) -> None:
        task = self.progress.tasks[self.task]
        rate = f"{task.speed * self.batch_size:.0f}" if task.speed else "-"
        self.progress.update(self.task, completed=done, rate=rate)

    def report(self, report: Report) -> None:
        score = report.scores[self.metric]
        self.best = max(self.best, score)
        self.progress.update(
            self.task, completed=report.step, loss=f"{report.loss:.3f}", score=f"{score:.4f}", best=f"{self.best:.4f}"
        )


class _Lines:
    def __init__(self, console: Console, total: int, batch_size: int, metric: str) -> None:
        self.console, self.total, self.batch_size, self.metric = console, total, batch_size, metric
        self.before: Report | None = None

    def step(self, done: int) -> None:
        """Steps print no line."""

    def report(self, report: Report) -> None:
        steps, seconds = (self.before.step, self.before.seconds) if self.before else (0, 0.0)
        steps, seconds = report.step - steps, report.seconds - seconds
        rate = steps * self.batch_size / seconds if seconds > 0 else 0.0
        left = (self.total - report.step) * seconds / max(1, steps)
        self.console.print(
            f"step {report.step}/{self.total}  epoch {report.epoch:.1f}  loss {report.loss:.4f}  "
            f"val {report.validation_loss:.4f}  {self.metric} {report.scores[self.metric]:.4f}  "
            f"{rate:.1f} images/s  {_duration(left)} left",
            markup=False,
        )
        self.before = report


@contextmanager
def watch(total: int, batch_size: int, metric: str) -> Iterator[Watcher]:
    """A progress display for a fold of ``total`` steps that is scored by ``metric``."""
    if not talk.is_terminal:
        yield _Lines(talk, total, batch_size, metric)
        return
    columns = (
        TextColumn("[bold]step"),
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn(f"loss {{task.fields[loss]}}  {metric} {{task.fields[score]}} (best {{task.fields[best]}})"),
        TextColumn("{task.fields[rate]} images/s"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=talk, speed_estimate_period=60) as progress:
        yield _Bar(progress, total, batch_size, metric)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
