"""Choosing post-processing by nested cross-validation.

For each fold, steps and their settings are chosen on the other folds, step after step: a step joins the chain if its
best setting raises the score by more than the standard error of that gain, and not by next to nothing. The fold is then
refined by what was chosen without it, and only this is reported. What is written down is chosen in the same way on all
folds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.refinement.chain import Chain, with_step
from analysis.refinement.steps.step import Step
from analysis.statistics.paired_gain import Gain
from analysis.tuning.candidates import rounds_of
from analysis.tuning.scoring import Scoring
from trainable.data.task import Task
from trainable.objectives.metrics import Counts

CHAIN = "best chain"
FEW_DRAWS = 200  # enough for a standard error
WORTH = 0.0005  # a smaller gain is not worth another step

# The counts of all images after each chain. A second argument names chains that may be extended later.
Evaluate = Callable[[Sequence[Chain], Sequence[Chain]], dict[Chain, Counts]]


@dataclass(frozen=True)
class Tried:
    """A step alone, or the best chain: what all folds choose, what is chosen without each fold, and the nested gain."""

    name: str
    chain: Chain
    without: tuple[Chain, ...]
    gain: Gain

    @property
    def helps(self) -> bool:
        """Whether the gain is positive and its interval has no loss in it."""
        return bool(self.chain) and self.gain.mean > 0 and self.gain.low >= 0


@dataclass(frozen=True)
class Selected:
    """``score`` is that without post-processing; the last of ``tried`` is the chain, the others are steps alone."""

    score: float
    tried: tuple[Tried, ...]

    @property
    def chain(self) -> Chain:
        """What is applied: the best chain if it helps, otherwise nothing."""
        return self.tried[-1].chain if self.tried[-1].helps else ()


@dataclass
class _Search:
    """A chain in the making: of one kind of step or of all, chosen without one fold or on all folds."""

    kinds: tuple[type[Step], ...]
    without: int | None
    chain: Chain = ()


def rounds_in(kinds: Sequence[type[Step]], task: Task) -> int:
    """How often ``select`` has all images evaluated."""
    return 1 + sum(len(rounds_of(kind, task)) for kind in kinds)


def select(kinds: Sequence[type[Step]], scoring: Scoring, evaluate: Evaluate) -> Selected:
    """Choose among these kinds of steps, which must be in the order of the registry."""
    kinds = [kind for kind in kinds if rounds_of(kind, scoring.task)]
    groups = [*((kind,) for kind in kinds), tuple(kinds)]
    searches = [_Search(group, without) for group in groups for without in (*scoring.fold_numbers, None)]
    known = evaluate([()], [()])
    for kind in kinds:
        for settings in rounds_of(kind, scoring.task):
            wanted = {
                id(search): [with_step(search.chain, each) for each in settings(_now(search, kind))]
                for search in searches
                if kind in search.kinds
            }
            fresh = dict.fromkeys(chain for chains in wanted.values() for chain in chains)
            known |= evaluate([chain for chain in fresh if chain not in known], [each.chain for each in searches])
            scores = {chain: scoring.by_fold(known[chain]) for chain in [*fresh, *(each.chain for each in searches)]}
            for search in searches:
                if chains := wanted.get(id(search)):
                    search.chain = _better(search, chains, scores, known, scoring)
            needed = {(), *(each.chain for each in searches)}
            known = {chain: counts for chain, counts in known.items() if chain in needed}
    tried: list[Tried] = []
    for group in groups:
        mine = [search for search in searches if search.kinds == group]
        name = group[0].name if len(group) == 1 and len(tried) < len(kinds) else CHAIN
        tried.append(_tried(name, mine, known, scoring))
    return Selected(float(scoring.by_fold(known[()]).mean()), tuple(tried))


def _now(search: _Search, kind: type[Step]) -> Step | None:
    return next((step for step in search.chain if isinstance(step, kind)), None)


def _better(
    search: _Search,
    chains: Sequence[Chain],
    scores: dict[Chain, np.ndarray],
    known: dict[Chain, Counts],
    scoring: Scoring,
) -> Chain:
    """The best of these chains if its gain is worth a step and more than its standard error, else the chain so far."""
    used = np.array([fold != search.without for fold in scoring.fold_numbers])
    best = max(chains, key=lambda chain: float(scores[chain][used].mean()))
    if scores[best][used].mean() - scores[search.chain][used].mean() < WORTH:
        return search.chain
    gain = scoring.gain(known[search.chain], known[best], search.without, FEW_DRAWS)
    return best if gain.mean > gain.error else search.chain


def _tried(name: str, searches: Sequence[_Search], known: dict[Chain, Counts], scoring: Scoring) -> Tried:
    """Each fold refined by the chain that was chosen without it."""
    nested = known[()].copy()
    chains = {search.without: search.chain for search in searches}
    for fold in scoring.fold_numbers:
        nested[scoring.folds == fold] = known[chains[fold]][scoring.folds == fold]
    gain = scoring.gain(known[()], nested)
    return Tried(name, chains[None], tuple(chains[fold] for fold in scoring.fold_numbers), gain)
