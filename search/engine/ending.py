"""What ends a run before its last job: Ctrl-C, a request to stop, a spent budget or an error."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from search.engine.listeners import Notify, Outcome
from search.engine.settings import EngineSettings
from search.race.score_table import ScoreTable
from search.runs.run_folder import STOP_FILE
from trainable.printing import plural


class Ending:
    """Why a run is about to end; ``cause`` is None until there is a reason."""

    def __init__(self, settings: EngineSettings, notify: Notify) -> None:
        self.settings, self.notify = settings, notify
        self.started_at = time.monotonic()
        self.cause: str | None = None
        self.outcome = Outcome("")
        self.error: BaseException | None = None

    def trials_spent(self, table: ScoreTable) -> bool:
        """Whether no further job is handed out, also of paused fold trials; those that run end their jobs."""
        return self.settings.trials is not None and table.started_trials >= self.settings.trials

    def check(self, table: ScoreTable, idle: bool) -> None:
        """Notice a request to stop or a spent budget, that of fold trials once the engine is ``idle``."""
        if self.cause is not None:
            return
        wall, trials = self.settings.wall, self.settings.trials or 0
        if (self.settings.folder / STOP_FILE).exists():
            self.cause, self.outcome = "stopped", Outcome("stopped by request", interrupted=True)
        elif wall is not None and time.monotonic() - self.started_at > wall:
            reason = f"the wall-clock budget of {wall:.0f} s is spent"
            self.cause, self.outcome = "budget", Outcome(reason, budget_spent=True)
        elif idle and self.trials_spent(table):
            reason, override = f"the budget of {plural(trials, 'fold trial')} is spent", f"budget.trials={2 * trials}"
            self.cause, self.outcome = "budget", Outcome(reason, budget_spent=True, override=override)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """The first Ctrl-C ends the run gracefully, the second immediately."""

        def interrupt(number: int, frame: Any) -> None:
            if self.cause is not None:
                raise KeyboardInterrupt
            self.cause = "interrupted"
            self.outcome = Outcome("interrupted", interrupted=True)
            self.notify("stopping after the next report of each fold trial; press Ctrl-C again to stop immediately")

        handlers = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def broken(self, error: BaseException) -> None:
        """End the run because of an error, of which the first is kept."""
        self.error = self.error or error
        self.cause = self.cause or "broken"

    def raise_error(self) -> None:
        """Raise the error that ended the run, if one did."""
        if self.error is not None:
            raise self.error
