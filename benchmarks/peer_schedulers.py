"""The schedulers of other packages, each asked and told through its own interface; benchmarks/peers.py drives them."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, Protocol

from search.replay.recorded_study import RecordedStudy


@dataclass(frozen=True)
class Trial:
    """The scores that a trial reports one after the other, and the seconds that each takes."""

    config: str
    fold: int  # -1 if its scores are those of all folds
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
            trials.append(Trial(entrant.config, fold, [report.score for report in curve], seconds))
    return trials


def whole_folds(study: RecordedStudy) -> list[Trial]:
    return [
        Trial(trial.config, trial.fold, trial.scores[-1:], [math.fsum(trial.seconds)]) for trial in each_fold(study)
    ]


def folds_in_turn(study: RecordedStudy) -> list[Trial]:
    ends = [[study.curves[entrant.config, fold][-1] for fold in range(study.folds)] for entrant in study.entrants]
    return [Trial(folds[0].config, -1, [end.score for end in folds], [end.seconds for end in folds]) for folds in ends]


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

    def __init__(self, trials: Sequence[Trial], seed: int, pruner: Any) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        name = f"peer {seed}"  # by which trials are assigned to brackets
        self.study = optuna.create_study(study_name=name, direction="maximize", pruner=pruner)
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

        super().__init__(trials, seed, HyperbandPruner(max_resource=max(len(trial.scores) for trial in trials)))


class OptunaWilcoxon(Optuna):
    def __init__(self, trials: Sequence[Trial], seed: int) -> None:
        from optuna.pruners import WilcoxonPruner

        super().__init__(trials, seed, WilcoxonPruner())

    def value(self, scores: Sequence[float]) -> float:
        return math.fsum(scores) / len(scores)


class SyneTune:
    """``HyperbandScheduler`` of Syne Tune, which is offered the trials one after the other."""

    kind = "stopping"

    def __init__(self, trials: Sequence[Trial], seed: int) -> None:
        logging.disable(logging.CRITICAL)
        from syne_tune.config_space import choice

        self.lengths, self.observed = [len(trial.scores) for trial in trials], dict[int, float]()
        self.numbers = {(trial.config, trial.fold): number for number, trial in enumerate(trials)}
        points = [{"config": trial.config, "fold": trial.fold} for trial in trials]
        space = {name: choice(list(dict.fromkeys(point[name] for point in points))) for name in ("config", "fold")}
        names = {"metric": "score", "mode": "max", "resource_attr": "step"}
        self.scheduler = self.make(space, points, max_t=max(self.lengths), random_seed=seed, **names)
        self.started: list[tuple[int, Any]] = []  # the number of each trial of Syne Tune, and the trial

    def make(self, space: dict[str, Any], points: list[dict[str, Any]], **options: Any) -> Any:
        from syne_tune.optimizer.schedulers import HyperbandScheduler

        return HyperbandScheduler(space, searcher="random", type=self.kind, points_to_evaluate=points, **options)

    def next(self) -> int | None:
        from syne_tune.backend.trial_status import Trial as SyneTrial

        suggestion = self.scheduler.suggest(len(self.started))
        if suggestion is None:
            return None
        if not suggestion.spawn_new_trial_id:
            return self.started[int(suggestion.checkpoint_trial_id)][0]
        if len(self.started) == len(self.lengths):  # every trial was offered, and no paused one may be promoted
            return None
        number = self.numbers.pop((suggestion.config["config"], suggestion.config["fold"]))
        trial = SyneTrial(len(self.started), suggestion.config, datetime.now())
        self.started.append((number, trial))
        self.scheduler.on_trial_add(trial)
        return number

    def report(self, number: int, step: int, score: float) -> bool:
        (trial,) = (trial for each, trial in self.started if each == number)
        result = {"step": step, "score": score}
        self.observed[number] = max(score, self.observed.get(number, -math.inf))
        if step == self.lengths[number]:
            self.scheduler.on_trial_complete(trial, result)
            return True
        return bool(self.scheduler.on_trial_result(trial, result) == "CONTINUE")

    def best(self) -> int:
        """As ``ExperimentResult.best_config``, which takes the best score observed at any step."""
        return max(self.observed, key=lambda number: self.observed[number])


class SynePromotion(SyneTune):
    kind = "promotion"


class SynePasha(SyneTune):
    kind = "pasha"


class SyneDyHpo(SyneTune):
    """Chooses the order of the trials itself, with a Gaussian process over config, fold and step."""

    def make(self, space: dict[str, Any], points: list[dict[str, Any]], **options: Any) -> Any:
        from syne_tune.optimizer.baselines import DyHPO

        return DyHPO(space, search_options={"restrict_configurations": points, "debug_log": False}, **options)


class Smac:
    """``Intensifier`` of SMAC3 with folds as instances, and the configs of the table as the only challengers."""

    def __init__(self, trials: Sequence[Trial], seed: int) -> None:
        logging.disable(logging.CRITICAL)
        from ConfigSpace import Categorical, Configuration, ConfigurationSpace
        from smac import Scenario
        from smac.intensifier import Intensifier
        from smac.runhistory import RunHistory

        configs = list(dict.fromkeys(trial.config for trial in trials))
        folds = list(dict.fromkeys(str(trial.fold) for trial in trials))
        space = ConfigurationSpace(space=[Categorical("config", configs)])
        scenario = Scenario(space, instances=folds, deterministic=True, n_trials=len(trials), seed=seed)
        self.numbers = {(trial.config, str(trial.fold)): number for number, trial in enumerate(trials)}
        self.intensifier = Intensifier(scenario, max_config_calls=len(folds))
        self.intensifier.config_selector = [Configuration(space, {"config": config}) for config in configs]
        self.history = self.intensifier.runhistory = RunHistory()
        self.running: dict[int, Any] = {}
        self.trials: Iterator[Any] = iter(self.intensifier)

    def next(self) -> int | None:
        trial = next(self.trials, None)
        if trial is None:  # it ends when all challengers are running; their scores lead to further trials
            self.trials = iter(self.intensifier)
            trial = next(self.trials, None)
        if trial is None:
            return None
        self.history.add_running_trial(trial)
        number = self.numbers[trial.config["config"], trial.instance]
        self.running[number] = trial
        return number

    def report(self, number: int, step: int, score: float) -> bool:
        trial = self.running.pop(number)
        self.history.add(trial.config, -score, instance=trial.instance, seed=trial.seed, force_update=True)
        self.intensifier.update_incumbents(trial.config)
        return True

    def best(self) -> int:
        winner = self.intensifier.get_incumbent()["config"]
        return next(number for (config, _), number in self.numbers.items() if config == winner)


Layout = Callable[[RecordedStudy], list[Trial]]
PEERS: dict[str, tuple[Layout, Callable[[Sequence[Trial], int], Peer]]] = {
    "ray-asha": (each_fold, RayAsha),
    "optuna-hyperband": (each_fold, OptunaHyperband),
    "optuna-wilcoxon": (folds_in_turn, OptunaWilcoxon),
    "syne-asha-stopping": (each_fold, SyneTune),
    "syne-asha-promotion": (each_fold, SynePromotion),
    "syne-pasha": (each_fold, SynePasha),
    "syne-dyhpo": (each_fold, SyneDyHpo),
    "smac-intensifier": (whole_folds, Smac),
}
