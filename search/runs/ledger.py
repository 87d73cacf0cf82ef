"""The ledger: what every second that a worker was busy went into, from the journal's records alone.

A worker is busy from the moment it is handed a job until the job's end, by the driver's clock. Of that time is *kept*
what the fold trial's own stopwatch gained: training, evaluation, checkpoints. What a worker did between its last
report and a fault, and until it had caught up again, is *lost*; everything else (starting a worker, opening the data,
waiting for the driver) is *overhead*. Counted in whole microseconds, so that the parts add up exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from search.race.score_table import Cell
from search.runs.fold_states import STATES, fold_states
from search.runs.journal import Line

PARTS = (*STATES, "under_way", "lost", "overhead")


@dataclass
class Account:
    """One fold trial, in microseconds; ``unseen`` is the share of what was kept that no driver's clock saw.

    A worker that outlives its driver trains on, and its checkpoint counts once the fold is handed out again.
    """

    state: str = "waiting"
    kept: int = 0
    under_way: int = 0
    lost: int = 0
    overhead: int = 0
    unseen: int = 0
    jobs: int = 0
    faults: int = 0

    @property
    def busy(self) -> int:
        return self.kept + self.under_way + self.lost + self.overhead

    def parts(self) -> dict[str, int]:
        told = {"under_way": self.under_way, "lost": self.lost, "overhead": self.overhead}
        return {part: told.get(part, self.kept if part == self.state else 0) for part in PARTS}


@dataclass(frozen=True)
class Ledger:
    """``wall`` is how long drivers were at work and ``workers`` how many jobs were out at once at most.

    ``cut`` jobs were out when their driver died. They count until its last record, the last that is known of them;
    their workers may have gone on, all together for at most ``unknown`` until the next driver began.
    """

    accounts: Mapping[Cell, Account]
    wall: int
    workers: int
    cut: int
    unknown: int

    @property
    def busy(self) -> int:
        return sum(account.busy for account in self.accounts.values())

    @property
    def unseen(self) -> int:
        return sum(account.unseen for account in self.accounts.values())

    def totals(self) -> dict[str, int]:
        """What each part comes to."""
        return _added(self.accounts.values())

    def of_configs(self) -> dict[str, dict[str, int]]:
        """What each part comes to for each config."""
        folds: dict[str, list[Account]] = defaultdict(list)
        for (config, _), account in self.accounts.items():
            folds[config].append(account)
        return {config: _added(accounts) for config, accounts in folds.items()}


@dataclass
class _Worker:
    """A fold trial's account while it is drawn up; ``since`` is None while nobody trains it."""

    account: Account = field(default_factory=Account)
    since: int | None = None
    pending: int = 0  # busy since the last report that was kept
    faulty: bool = False  # whether there was a fault since

    def tick(self, now: int) -> None:
        if self.since is not None:
            self.pending += max(0, now - self.since)
            self.since = now

    def report(self, seconds: float) -> None:
        gain = max(0, round(seconds * 1e6) - self.account.kept)
        watched = self.since is not None
        self.account.kept += gain
        rest, self.pending = self.pending - gain, 0
        if rest < 0 and (self.faulty or not watched):
            self.account.unseen -= rest
        elif self.faulty:
            self.account.lost += rest
        else:  # below zero where a record was written late: the next one makes up for it
            self.account.overhead += rest
        self.faulty = False

    def close(self) -> Account:
        account = self.account
        if self.faulty:
            account.lost += self.pending
        elif self.since is not None:
            account.under_way += self.pending
        else:
            account.overhead += self.pending
        if account.overhead < 0:
            account.unseen, account.overhead = account.unseen - account.overhead, 0
        return account


def _added(accounts: Iterable[Account]) -> dict[str, int]:
    added = dict.fromkeys(PARTS, 0)
    for account in accounts:
        for part, spent in account.parts().items():
            added[part] += spent
    return added


def ledger(lines: Iterable[Line], now: float | None = None) -> Ledger:
    """Draw up the ledger; ``now`` is the clock where a driver is at work, None where nobody is."""
    return _Clerk().read(list(lines), now)


class _Clerk:
    """Reads the records in their order; what is out is busy."""

    def __init__(self) -> None:
        self.trials: dict[Cell, _Worker] = defaultdict(_Worker)
        self.out: dict[Cell, _Worker] = {}
        self.wall = self.workers = self.cut = self.unknown = 0
        self.last: int | None = None

    def read(self, lines: list[Line], now: float | None) -> Ledger:
        for line in lines:
            at = round(line.at * 1e6)
            if line.kind == "begin":
                self._cut_off(at)
            else:
                self.wall += max(0, at - (at if self.last is None else self.last))
            self.last = at
            self._take(line.kind, line.fields, at)
        if now is None:
            self._cut_off(self.last or 0)
        elif self.last is not None:
            self.wall += max(0, round(now * 1e6) - self.last)
            for trial in self.out.values():
                trial.tick(round(now * 1e6))
        states = fold_states(lines, driven=now is not None)
        accounts = {cell: trial.close() for cell, trial in self.trials.items()}
        for cell, account in accounts.items():
            account.state = states[cell].state
        return Ledger(accounts, self.wall, self.workers, self.cut, self.unknown)

    def _take(self, kind: str, fields: Mapping[str, Any], at: int) -> None:
        if kind not in ("job", "report", "fault", "stop", "lost"):
            return
        cell = (fields["config"], fields["fold"])
        trial = self.trials[cell]
        trial.tick(at)
        if kind == "job":
            trial.since = at
            self.out[cell] = trial
            trial.account.jobs += 1
            self.workers = max(self.workers, len(self.out))
        elif kind == "report":
            trial.report(fields["seconds"])
        elif kind == "fault":
            trial.account.faults += 1
            trial.faulty = True
        if kind in ("stop", "lost") or "stop" in fields:
            trial.since = None
            self.out.pop(cell, None)

    def _cut_off(self, now: int) -> None:
        """The driver died with its last record, as far as is known, and its workers not long after."""
        last = now if self.last is None else self.last
        for trial in self.out.values():
            trial.tick(last)
            trial.since, trial.faulty = None, True
        self.cut += len(self.out)
        self.unknown += len(self.out) * max(0, now - last)
        self.out.clear()
