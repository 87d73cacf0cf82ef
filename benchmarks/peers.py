"""Replay recorded curves through the schedulers of other packages, a table each; writes results/peers.json.

    python benchmarks/peers.py FOLDER --peers ray-asha optuna-hyperband optuna-wilcoxon
    python benchmarks/peers.py FOLDER --peers syne-asha-stopping syne-asha-promotion syne-pasha    # syne-tune==0.13.0

What a trial is differs. For ASHA, PASHA and Hyperband it is one fold of one config, which reports its curve; for
Wilcoxon's pruner it is a config, which trains a fold after the other and reports each. Every config is offered once, in
the order of the table, and the answer is the config of the trial that the package calls the best.
"""

import argparse
import heapq
import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import replay_facts
from search.replay.comparison import ReplayOutcome, mean_row
from search.replay.curve_tables import find_tables, read_table
from search.replay.recorded_study import RecordedStudy
from trainable.exit_codes import run
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parent


@dataclass(frozen=True)
class Trial:
    """The scores that a trial reports one after the other, and the seconds that each takes."""

    config: str
    scores: Sequence[float]
    seconds: Sequence[float]


class Peer(Protocol):
    def next(self) -> int | None:
        """The number of a trial to start or to resume; None if there is none at present."""

    def report(self, number: int, step: int, score: float) -> bool:
        """Whether the trial continues after its report of this step, counted from 1."""

    def best(self) -> int:
        """The number of the best trial."""


def each_fold(study: RecordedStudy) -> list[Trial]:
    trials = []
    for entrant in study.entrants:
        for fold in range(study.folds):
            curve = study.curves[entrant.config, fold]
            times = [0.0, *(report.seconds for report in curve)]
            seconds = [after - before for before, after in pairwise(times)]
            trials.append(Trial(entrant.config, [report.score for report in curve], seconds))
    return trials


def folds_in_turn(study: RecordedStudy) -> list[Trial]:
    ends = [[study.curves[entrant.config, fold][-1] for fold in range(study.folds)] for entrant in study.entrants]
    return [Trial(folds[0].config, [end.score for end in folds], [end.seconds for end in folds]) for folds in ends]


class RayAsha:
    def __init__(self, trials: Sequence[Trial], seed: int) -> None:
        from ray.tune.schedulers import ASHAScheduler

        longest = max(len(trial.scores) for trial in trials)
        self.asha = ASHAScheduler("step", "score", "max", max_t=longest)
        self.new, self.last = iter(range(len(trials))), dict[int, float]()

    def next(self) -> int | None:
        number = next(self.new, None)
        if number is not None:
            self.asha.on_trial_add(None, SimpleNamespace(trial_id=str(number)))
        return number

    def report(self, number: int, step: int, score: float) -> bool:
        self.last[number] = score
        result = {"step": step, "score": score}
        return bool(self.asha.on_trial_result(None, SimpleNamespace(trial_id=str(number)), result) == "CONTINUE")

    def best(self) -> int:
        """As ``ResultGrid.get_best_result``, which compares the last score of each trial."""
        return max(self.last, key=lambda number: self.last[number])


class Optuna:
    """``optuna.study.Study.ask`` and ``tell``; a pruned trial cannot be the best."""

    def __init__(self, trials: Sequence[Trial], pruner: Any) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(direction="maximize", pruner=pruner)
        self.new, self.lengths = iter(range(len(trials))), [len(trial.scores) for trial in trials]
        self.asked: dict[int, Any] = {}
        self.scores: dict[int, list[float]] = {}

    def next(self) -> int | None:
        number = next(self.new, None)
        if number is not None:
            self.asked[number], self.scores[number] = self.study.ask(), []
        return number

    def value(self, scores: Sequence[float]) -> float:
        return scores[-1]

    def report(self, number: int, step: int, score: float) -> bool:
        from optuna.trial import TrialState

        trial = self.asked[number]
        self.scores[number].append(score)
        trial.report(score, step - 1)
        if step == self.lengths[number]:
            self.study.tell(trial, self.value(self.scores[number]))
        elif trial.should_prune():
            self.study.tell(trial, state=TrialState.PRUNED)
            return False
        return True

    def best(self) -> int:
        numbers = {trial.number: number for number, trial in self.asked.items()}
        return numbers[self.study.best_trial.number]


class OptunaHyperband(Optuna):
    def __init__(self, trials: Sequence[Trial], seed: int) -> None:
        from optuna.pruners import HyperbandPruner

        super().__init__(trials, HyperbandPruner(max_resource=max(len(trial.scores) for trial in trials)))


class OptunaWilcoxon(Optuna):
    def __init__(self, trials: Sequence[Trial], seed: int) -> None:
        from optuna.pruners import WilcoxonPruner

        super().__init__(trials, WilcoxonPruner())

    def value(self, scores: Sequence[float]) -> float:
        return math.fsum(scores) / len(scores)


class SyneTune:
    """``HyperbandScheduler`` of Syne Tune with the trials as the only points to evaluate."""

    kind = "stopping"

    def __init__(self, trials: Sequence[Trial], seed: int) -> None:
        logging.disable(logging.CRITICAL)
        from syne_tune.config_space import randint
        from syne_tune.optimizer.schedulers import HyperbandScheduler

        self.scheduler = HyperbandScheduler(
            {"number": randint(0, len(trials) - 1)},
            searcher="random",
            metric="score",
            mode="max",
            resource_attr="step",
            max_t=max(len(trial.scores) for trial in trials),
            type=self.kind,
            random_seed=seed,
            points_to_evaluate=[{"number": number} for number in range(len(trials))],
        )
        self.lengths, self.observed = [len(trial.scores) for trial in trials], dict[int, float]()
        self.trials: dict[int, Any] = {}

    def next(self) -> int | None:
        from syne_tune.backend.trial_status import Trial as SyneTrial

        suggestion = self.scheduler.suggest(len(self.trials))
        if suggestion is None:
            return None
        if not suggestion.spawn_new_trial_id:
            return int(suggestion.checkpoint_trial_id)
        number = len(self.trials)
        if number == len(self.lengths):  # every config was offered, and no paused trial may be promoted
            return None
        assert suggestion.config["number"] == number
        self.trials[number] = SyneTrial(number, suggestion.config, datetime.now())
        self.scheduler.on_trial_add(self.trials[number])
        return number

    def report(self, number: int, step: int, score: float) -> bool:
        result = {"step": step, "score": score}
        self.observed[number] = max(score, self.observed.get(number, -math.inf))
        if step == self.lengths[number]:
            self.scheduler.on_trial_complete(self.trials[number], result)
            return True
        return bool(self.scheduler.on_trial_result(self.trials[number], result) == "CONTINUE")

    def best(self) -> int:
        """As ``ExperimentResult.best_config``, which takes the best score observed at any step."""
        return max(self.observed, key=lambda number: self.observed[number])


class SynePromotion(SyneTune):
    kind = "promotion"


class SynePasha(SyneTune):
    kind = "pasha"


Layout = Callable[[RecordedStudy], list[Trial]]
PEERS: dict[str, tuple[Layout, Callable[[Sequence[Trial], int], Peer]]] = {
    "ray-asha": (each_fold, RayAsha),
    "optuna-hyperband": (each_fold, OptunaHyperband),
    "optuna-wilcoxon": (folds_in_turn, OptunaWilcoxon),
    "syne-asha-stopping": (each_fold, SyneTune),
    "syne-asha-promotion": (each_fold, SynePromotion),
    "syne-pasha": (each_fold, SynePasha),
}


def drive(peer: Peer, trials: Sequence[Trial], workers: int) -> tuple[float, float]:
    """The seconds that a simulated cluster trains, and its clock at the end."""
    steps, events = [0] * len(trials), list[tuple[float, int]]()
    clock = used = 0.0
    while True:
        while len(events) < workers and (number := peer.next()) is not None:
            heapq.heappush(events, (clock + trials[number].seconds[steps[number]], number))
        if not events:
            return used, clock
        clock, number = heapq.heappop(events)
        trial = trials[number]
        used += trial.seconds[steps[number]]
        steps[number] += 1
        more = peer.report(number, steps[number], trial.scores[steps[number] - 1])
        if more and steps[number] < len(trial.scores):
            heapq.heappush(events, (clock + trial.seconds[steps[number]], number))


def outcome(study: RecordedStudy, name: str, workers: int, seed: int) -> ReplayOutcome:
    layout, make = PEERS[name]
    trials = layout(study)
    peer = make(trials, seed)
    used, clock = drive(peer, trials, workers)
    means = study.means()
    ranked, winner = sorted(means.values(), reverse=True), means[trials[peer.best()].config]
    best = float(winner == ranked[0])
    top = float(winner >= ranked[:3][-1])
    return ReplayOutcome(used / study.seconds, clock, ranked[0] - winner, best, top, best, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--repeats", type=int, default=5, help="orders of configs and folds of each table")
    parser.add_argument("--workers", type=int, default=4, help="trials at once")
    parser.add_argument("--every", type=int, default=1, help="replay every n-th table only")
    parser.add_argument("--out", type=Path, default=HOME / "results" / "peers.json")
    options = parser.parse_args()
    start, tables = time.monotonic(), find_tables([options.folder])[:: options.every]
    found: dict[str, list[ReplayOutcome]] = {name: [] for name in options.peers}
    for table in tables:
        study = read_table(table)
        for repeat in range(options.repeats):
            shuffled = study.shuffled(repeat) if repeat else study
            for name in options.peers:
                found[name].append(outcome(shuffled, name, options.workers, repeat))
    rows = [mean_row(name, found[name]) for name in options.peers]
    facts = replay_facts("peers", time.monotonic() - start, len(tables))
    write_json(options.out, {**facts, "results": rows})
    say(f"{facts['seconds']} s")
    print_table(rows, f"{len(tables)} tables in {options.repeats} orders, {options.workers} workers")


if __name__ == "__main__":
    run(main)
