"""The configs that the live view shows, at most a dozen: the best, the running and the most recently stopped ones."""

import math
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from statistics import fmean, stdev

from search.runs.fold_states import FoldState
from search.runs.status import Status
from trainable.printing import plural

PEERS, STOPPED = 3, 3  # how many are always shown, however many are running
ORDER = ("running", "paused", "done", "failed", "waiting")  # of configs without a rank


@dataclass(frozen=True)
class Cell:
    """A fold of a config: its state, and its progress as a fraction of all steps."""

    state: str
    progress: float = 0.0


@dataclass(frozen=True)
class ConfigRow:
    """A config in the table; ``score`` and ``progress`` are those of its most advanced fold."""

    config: str
    rank: int | None
    state: str
    cells: tuple[Cell, ...]
    mean: float | None
    sd: float | None
    score: float | None
    progress: float
    note: str


@dataclass(frozen=True)
class ConfigTable:
    """All configs of a run, of which some are shown."""

    shown: tuple[ConfigRow, ...]
    hidden: tuple[tuple[str, int], ...]  # the number of other configs by state


def config_table(status: Status, most: int) -> ConfigTable:
    folds: dict[str, dict[int, FoldState]] = {config: {} for config in status.score_table.entrants}
    for (config, fold), trial in status.trials.items():
        folds[config][fold] = trial
    states = {config: _state(status, config, trials) for config, trials in folds.items()}
    ranking = [config for config in _leader_first(status) if config in folds]
    ranks = {config: place for place, config in enumerate(ranking, 1)}
    chosen = sorted(
        _choose(states, folds, ranking, most),
        key=lambda config: (ranks.get(config, math.inf), ORDER.index(states[config]), -_reached(folds[config])),
    )
    shown = tuple(_row(status, config, ranks.get(config), states[config], folds[config]) for config in chosen)
    others = Counter(state for config, state in states.items() if config not in chosen)
    return ConfigTable(shown, tuple((state, others[state]) for state in ORDER if others[state]))


def _leader_first(status: Status) -> list[str]:
    """The ranking with the leader moved to the front; empty without a leader."""
    ranking, leader = status.ranking, status.leader
    return [] if leader is None else [leader["id"], *(config for config in ranking if config != leader["id"])]


def _state(status: Status, config: str, trials: dict[int, FoldState]) -> str:
    if config in status.score_table.failed:
        return "failed"
    if not trials:
        return "waiting"
    if any(trial.state == "running" for trial in trials.values()):
        return "running"
    return "done" if status.score_table.complete(config) else "paused"


def _choose(states: dict[str, str], folds: dict[str, dict[int, FoldState]], ranking: list[str], most: int) -> list[str]:
    """The best, the running and the most recently stopped configs, then the others in this order."""
    running = [config for config in ranking if states[config] == "running"]
    running += [config for config in states if states[config] == "running" and config not in set(running)]
    stopped = [config for config in states if states[config] in ("paused", "failed")]
    stopped.sort(key=lambda config: -max(trial.changed for trial in folds[config].values()))
    room = max(0, most - PEERS - STOPPED)
    wanted = [*ranking[:PEERS], *running[:room], *stopped[:STOPPED], *running, *ranking, *stopped, *states]
    return list(islice(dict.fromkeys(wanted), most))


def _reached(trials: dict[int, FoldState]) -> int:
    return max((trial.step for trial in trials.values()), default=0)


def _row(status: Status, config: str, rank: int | None, state: str, trials: dict[int, FoldState]) -> ConfigRow:
    horizon = status.score_table.entrants[config].horizon
    table = status.score_table
    scores = [table.shown(score) for score in table.scores(config) if math.isfinite(score)]
    cells = tuple(
        Cell(trials[fold].state, trials[fold].step / horizon) if fold in trials else Cell("waiting")
        for fold in range(status.score_table.folds)
    )
    furthest = max(trials.values(), key=lambda trial: trial.step, default=None)
    score = None if furthest is None or not math.isfinite(furthest.score) else furthest.score
    return ConfigRow(
        config,
        rank,
        state,
        cells,
        fmean(scores) if scores else None,
        stdev(scores) if len(scores) > 1 else None,
        score,
        0.0 if furthest is None else furthest.step / horizon,
        _note(status, config, state, trials, horizon),
    )


def _note(status: Status, config: str, state: str, trials: dict[int, FoldState], horizon: int) -> str:
    """What the config is doing, or why it was stopped."""
    if state == "waiting":
        return "not started"
    if state == "done":
        return "complete"
    if state == "running":
        at = {fold: trial for fold, trial in sorted(trials.items()) if trial.state == "running"}
        faults = sum(trial.faults for trial in at.values())
        folds = f"fold{'s' * (len(at) > 1)} {', '.join(map(str, at))}"
        steps = f"{folds} at step {', '.join(str(trial.step) for trial in at.values())} of {horizon}"
        return f"{steps}, {plural(faults, 'retry', 'retries')}" if faults else steps
    if state == "failed":
        fold = status.score_table.failed[config][1]
        return f"fold {fold}: {trials[fold].reason.removeprefix('failed: ')}"
    return (status.policy.why(config) or "waiting").removeprefix("paused: ")  # the cells already show the state
