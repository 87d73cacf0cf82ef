"""Compare Optuna's samplers on the scores that this project reports to them and on Optuna's own trial states.

python benchmarks/samplers.py --seeds 6
"""

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

FOLDS = (0.0, 0.02, -0.015)  # effect of each fold on all scores
CENTRES = ((0.7, 0.05), (0.2, 0.05), (0.5, 0.025), (0.9, 0.015), (0.4, 0.005))  # of each range: optimum and weight
LEVELS = {"a": 0.0, "b": 0.004, "c": 0.01}  # cost of each choice
NOISE, STEPS = 0.006, 4
SPACE: dict[str, Any] = {
    "name": "hill",
    "trainable": "scripted",
    "folds": len(FOLDS),
    "scheduler": "foldrace",
    "parameters": {f"x{k}": {"min": 0.0, "max": 1.0} for k in range(len(CENTRES))}
    | {"level": {"values": list(LEVELS)}, "steps": STEPS, "evaluations": STEPS},
}


class OptunaStates(OptunaProposals):
    """Report complete configs with their mean, paused ones as pruned, and waiting ones as running."""

    def _study_of(self, policy: Any, rng: random.Random) -> optuna.Study:
        sampler = sampler_of(self.sampler.name, rng.randrange(2**32))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for config in policy.score_table.entrants:
            outcome = outcome_of(policy, config)
            value = list(outcome.values.values())[-1] if outcome.state == "pruned" else outcome.mean
            trial = self.trial(policy, config, STATES[outcome.state], value=value, intermediate_values=outcome.values)
            study.add_trial(trial)
        return study


class NoJournal:
    """A journal that discards all records."""

    def append(self, kind: str, **fields: Any) -> None:
        pass


class Curves(dict[tuple[str, int], list[Report]]):
    """The curves of fold trials, generated on first access; the true score is a quadratic function of the ranges."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def truth(self, config: str) -> float:
        values = self.policy.score_table.entrants[config].parameters
        distance = sum(weight * (values[f"x{k}"] - best) ** 2 for k, (best, weight) in enumerate(CENTRES))
        return float(0.85 - distance - LEVELS[values["level"]])

    def __missing__(self, cell: tuple[str, int]) -> list[Report]:
        config, fold = cell
        end = self.truth(config) + random.Random(f"{config} {fold}").gauss(0, NOISE) + FOLDS[fold]
        steps = range(1, STEPS + 1)
        self[cell] = [Report(config, fold, step, end - 0.1 * (1 / step - 1 / STEPS), 10.0 * step) for step in steps]
        return self[cell]


def run(sampler: str, proposal_type: type[OptunaProposals], count: int, seed: int) -> tuple[float, float]:
    """The median true score of the later half of the proposals, and the true score of the winner."""
    space = make_space(SPACE | {"sampler": {"name": sampler, "count": count, "seed": seed}})
    policy, settings = policy_of(space), space.settings.sampler
    if sampler == "random":
        proposals: Any = RandomProposals(space, seed, count)
    else:
        proposals = proposal_type(space, settings)  # type: ignore[arg-type]
    study: Any = GrowingStudy(policy, NoJournal(), proposals, lambda point: None)  # type: ignore[arg-type]
    curves = Curves(policy)
    simulate(study, curves, workers=4)
    later = list(policy.score_table.entrants)[count // 2 :]
    return median(map(curves.truth, later)), curves.truth(str(policy.answer().winner))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--count", type=int, default=60)
    options = parser.parse_args()
    rows = []
    for sampler in ("random", "tpe", "cmaes", "gp"):
        for proposal_type in (OptunaProposals,) if sampler == "random" else (OptunaProposals, OptunaStates):
            results = [run(sampler, proposal_type, options.count, seed) for seed in range(options.seeds)]
            later, winner = (round(fmean(each), 4) for each in zip(*results, strict=True))
            states = "Optuna's states" if proposal_type is OptunaStates else "expected scores"
            reported = "" if sampler == "random" else states
            rows.append({"sampler": sampler, "reported": reported, "later proposals": later, "winner": winner})
    print_table(rows, f"{options.count} configs x {len(FOLDS)} folds, 4 workers, mean of {options.seeds} seeds")


if __name__ == "__main__":
    main()
