"""What Optuna's samplers make of what they are told: our account of the run, or Optuna's own states of its trials.

python benchmarks/samplers.py --seeds 6
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from statistics import fmean, median
from typing import Any

import optuna

sys.path.insert(0, str(Path(__file__).parents[1]))

from search.messages import Report
from search.policies.registry import policy_of
from search.replay.simulation import simulate
from search.samplers.config_outcome import outcome_of
from search.samplers.growing_study import GrowingStudy
from search.samplers.optuna_adapter import STATES, OptunaProposals, sampler_of
from search.samplers.proposals import RandomProposals
from spaces.load import make_space
from trainable.printing import print_table

FOLDS = (0.0, 0.02, -0.015)  # what a fold adds to every config's score
CENTRES = ((0.7, 0.05), (0.2, 0.05), (0.5, 0.025), (0.9, 0.015), (0.4, 0.005))  # of each range: the best, the weight
LEVELS = {"a": 0.0, "b": 0.004, "c": 0.01}  # what each choice costs
NOISE, STEPS = 0.006, 4
SPACE: dict[str, Any] = {
    "name": "hill",
    "trainable": "scripted",
    "folds": len(FOLDS),
    "scheduler": "foldrace",
    "parameters": {f"x{place}": {"min": 0.0, "max": 1.0} for place in range(len(CENTRES))}
    | {"level": {"values": list(LEVELS)}, "steps": STEPS, "evaluations": STEPS},
}


class OptunasStates(OptunaProposals):
    """Complete configs are told with their mean, paused ones as pruned, those that wait as running."""

    def _study_of(self, policy: Any, rng: random.Random) -> optuna.Study:
        sampler = sampler_of(self.sampler.name, rng.randrange(2**32))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for config in policy.score_table.entrants:
            told = outcome_of(policy, config)
            value = list(told.values.values())[-1] if told.state == "pruned" else told.mean
            trial = self.trial(policy, config, STATES[told.state], value=value, intermediate_values=told.values)
            study.add_trial(trial)
        return study


class Nowhere:
    """A journal that keeps nothing."""

    def append(self, kind: str, **fields: Any) -> None:
        pass


class Hill(dict[tuple[str, int], list[Report]]):
    """The curves of configs, made when somebody asks for them."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def truth(self, config: str) -> float:
        values = self.policy.score_table.entrants[config].parameters
        away = sum(weight * (values[f"x{k}"] - best) ** 2 for k, (best, weight) in enumerate(CENTRES))
        return float(0.85 - away - LEVELS[values["level"]])

    def __missing__(self, cell: tuple[str, int]) -> list[Report]:
        config, fold = cell
        end = self.truth(config) + random.Random(f"{config} {fold}").gauss(0, NOISE) + FOLDS[fold]
        steps = range(1, STEPS + 1)
        self[cell] = [Report(config, fold, step, end - 0.1 * (1 / step - 1 / STEPS), 10.0 * step) for step in steps]
        return self[cell]


def run(sampler: str, told: type[OptunaProposals], count: int, seed: int) -> tuple[float, float]:
    """The median truth of the later half of the proposals, and the winner's truth."""
    space = make_space(SPACE | {"sampler": {"name": sampler, "count": count, "seed": seed}})
    policy, asked = policy_of(space), space.settings.sampler
    proposals: Any = RandomProposals(space, seed, count) if sampler == "random" else told(space, asked)  # type: ignore[arg-type]
    study: Any = GrowingStudy(policy, Nowhere(), proposals, lambda point: None)  # type: ignore[arg-type]
    hill = Hill(policy)
    simulate(study, hill, workers=4)
    later = list(policy.score_table.entrants)[count // 2 :]
    return median(map(hill.truth, later)), hill.truth(str(policy.answer().winner))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--count", type=int, default=60)
    asked = parser.parse_args()
    rows = []
    for sampler in ("random", "tpe", "cmaes", "gp"):
        for told in (OptunaProposals,) if sampler == "random" else (OptunaProposals, OptunasStates):
            found = [run(sampler, told, asked.count, seed) for seed in range(asked.seeds)]
            later, winner = (round(fmean(each), 4) for each in zip(*found, strict=True))
            what = "" if sampler == "random" else "Optuna's states" if told is OptunasStates else "our account"
            rows.append({"sampler": sampler, "told": what, "later proposals": later, "winner": winner})
    print_table(rows, f"{asked.count} configs x {len(FOLDS)} folds, 4 workers, mean of {asked.seeds} seeds")


if __name__ == "__main__":
    main()
