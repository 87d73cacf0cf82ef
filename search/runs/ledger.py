"""The ledger: how the busy time of workers was used, computed from the journal alone.

A worker is busy from the assignment of a job to its end, by the driver's clock. The time that the fold trial itself
measured (training, evaluation, checkpoints) is *kept*. That of *pre-training*, which other fold trials may share,
counts for the one that did it. The time between its last report and a fault, and until it has
caught up, is *lost*, and so is that of training a fold again whose model is missing. Everything else (starting a
worker, opening the data, waiting for the driver) is *overhead*. Times are whole microseconds, so that the parts add up
exactly.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from search.race.score_table import Cell
from search.runs.fold_states import STATES, fold_states
from search.runs.journal import Line
from search.runs.study import earlier_pauses

PARTS = (*STATES, "pretraining", "under_way", "lost", "overhead")


@dataclass
class Account:
    """The times of one fold trial in microseconds; ``unseen`` is the part of ``kept`` while no driver was running.

    A worker that outlives its driver keeps training, and its checkpoint counts once the fold is outstanding again.
    """

    state: str = "waiting"
    kept: int = 0
    pretraining: int = 0
    under_way: int = 0
    lost: int = 0
    overhead: int = 0
    unseen: int = 0
    jobs: int = 0
    faults: int = 0

    @property
    def busy(self) -> int:
        return self.kept + self.pretraining + self.under_way + self.lost + self.overhead

    def parts(self) -> dict[str, int]:
        times = {part: getattr(self, part) for part in PARTS[len(STATES) :]} | {self.state: self.kept}
        return {part: times.get(part, 0) for part in PARTS}


@dataclass(frozen=True)
class Ledger:
    """``wall`` is the total time that drivers were running, ``workers`` the most jobs that were outstanding at once.

    ``cut`` jobs were outstanding when their driver died. They count up to its last record; their workers may have
    trained on until the next driver began, for at most ``unknown`` in total.
    """

    accounts: Mapping[Cell, Account]
    wall: int
    workers: int
    cut: int
    unknown: int
    earlier_rules: str  # says that some pauses go by the rules of an earlier version, if they do

    @property
    def busy(self) -> int:
        return sum(account.busy for account in self.accounts.values())

    @property
    def unseen(self) -> int:
        return sum(account.unseen for account in self.accounts.values())

    def totals(self) -> dict[str, int]:
        """The total of each part."""
        return _sum(self.accounts.values())

    def of_configs(self) -> dict[str, dict[str, int]]:
        """The total of each part for each config."""
        folds: dict[str, list[Account]] = defaultdict(list)
        for (config, _), account in self.accounts.items():
            folds[config].append(account)
        return {config: _sum(accounts) for config, accounts in folds.items()}


@dataclass
class _TrialTimer:
    """Computes the account of a fold trial; ``since`` is None while it has no outstanding job."""

    account: Account = field(default_factory=Account)
    since: int | None = None
    unattributed: int = 0  # busy time since the last report
    faulty: bool = False  # whether there was a fault since then

    def advance(self, now: int) -> None:
        if self.since is not None:
            self.unattributed += max(0, now - self.since)
            self.since = now

    def report(self, seconds: float) -> None:
        gain = max(0, round(seconds * 1e6) - self.account.kept)
        outstanding = self.since is not None
        self.account.kept += gain
        rest, self.unattributed = self.unattributed - gain, 0
        if rest < 0 and (self.faulty or not outstanding):
            self.account.unseen -= rest
        elif self.faulty:
            self.account.lost += rest
        else:  # negative if a record was written late, which the next record compensates
            self.account.overhead += rest
        self.faulty = False

    def pretrained(self, seconds: float) -> None:
        spent = round(seconds * 1e6)
        self.account.pretraining += spent
        self.unattributed -= spent

    def lose(self, seconds: float) -> None:
        """The time of training a fold again whose model was lost."""
        spent = round(seconds * 1e6)
        self.account.lost += spent
        self.unattributed -= spent

    def hold(self) -> None:
        """The job was not handed out: it waits for another one."""
        self.since = None
        self.account.jobs -= 1

    def close(self) -> Account:
        account = self.account
        if self.faulty:
            account.lost += self.unattributed
        elif self.since is not None:
            account.under_way += self.unattributed
        else:
            account.overhead += self.unattributed
        if account.overhead < 0:
            account.unseen, account.overhead = account.unseen - account.overhead, 0
        return account


def _sum(accounts: Iterable[Account]) -> dict[str, int]:
    totals = dict.fromkeys(PARTS, 0)
    for account in accounts:
        for part, spent in account.parts().items():
            totals[part] += spent
    return totals


def ledger(lines: Iterable[Line], now: float | None = None) -> Ledger:
    """Compute the ledger; ``now`` is the current time if a driver is running, else None."""
    return _LedgerReader().read(list(lines), now)


class _LedgerReader:
    def __init__(self) -> None:
        self.trials: dict[Cell, _TrialTimer] = defaultdict(_TrialTimer)
        self.outstanding: dict[Cell, _TrialTimer] = {}
        self.wall = self.workers = self.cut = self.unknown = 0
        self.last: int | None = None

    def read(self, lines: list[Line], now: float | None) -> Ledger:
        for line in lines:
            at = round(line.at * 1e6)
            if line.kind == "begin":
                self._end_driver(at)
            else:
                self.wall += max(0, at - (at if self.last is None else self.last))
            self.last = at
            self._apply(line.kind, line.fields, at)
        if now is None:
            self._end_driver(self.last or 0)
        elif self.last is not None:
            self.wall += max(0, round(now * 1e6) - self.last)
            for trial in self.outstanding.values():
                trial.advance(round(now * 1e6))
        states = fold_states(lines, driven=now is not None)
        accounts = {cell: trial.close() for cell, trial in self.trials.items()}
        for cell, account in accounts.items():
            account.state = states[cell].state
        return Ledger(accounts, self.wall, self.workers, self.cut, self.unknown, earlier_pauses(lines))

    def _apply(self, kind: str, fields: Mapping[str, Any], at: int) -> None:
        if kind not in ("job", "report", "fault", "stop", "lost", "held", "pretraining", "retrained"):
            return
        cell = (fields["config"], fields["fold"])
        trial = self.trials[cell]
        trial.advance(at)
        if kind == "job":
            trial.since = at
            self.outstanding[cell] = trial
            trial.account.jobs += 1
            self.workers = max(self.workers, len(self.outstanding))
        elif kind == "report":
            trial.report(fields["seconds"])
        elif kind == "pretraining":
            trial.pretrained(fields["seconds"])
        elif kind == "retrained":
            trial.lose(fields["seconds"])
        elif kind == "held":
            trial.hold()
        elif kind == "fault":
            trial.account.faults += 1
            trial.faulty = True
        if kind in ("stop", "lost", "held") or "stop" in fields:
            trial.since = None
            self.outstanding.pop(cell, None)

    def _end_driver(self, now: int) -> None:
        """Assume that the driver and its jobs ended with its last record, the last that is known of them."""
        last = now if self.last is None else self.last
        for trial in self.outstanding.values():
            trial.advance(last)
            trial.since, trial.faulty = None, True
        self.cut += len(self.outstanding)
        self.unknown += len(self.outstanding) * max(0, now - last)
        self.outstanding.clear()
