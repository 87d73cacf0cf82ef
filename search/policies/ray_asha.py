"""A baseline: ASHA as commonly run in Ray Tune, where each fold is a trial, rungs mix folds and the best trial wins.

It is more lenient than Ray's: a trial's own score counts for the cutoff, and it resumes if the cutoff falls.
"""

from collections.abc import Iterable

import numpy as np

from search.messages import Answer, Entrant, Job, Report, Verdict
from search.policies.contract import Policy
from trainable.printing import digits


class RayAsha(Policy):
    def __init__(
        self,
        entrants: Iterable[Entrant],
        folds: int,
        budget: float | None = None,
        rungs: tuple[float, ...] = (1 / 9, 1 / 3),
        eta: float = 3.0,
    ) -> None:
        self.rungs, self.eta = rungs, eta
        self._cutoffs: dict[int, float] = {}  # a cache, cleared at every report
        super().__init__(entrants, folds, budget)

    def report(self, report: Report) -> Verdict:
        self._cutoffs.clear()
        return super().report(report)

    def choose(self) -> Job | None:
        for started in (False, True):
            for entrant in self.score_table.alive():
                for fold in self.score_table.open_folds(entrant.config):
                    curve = self.score_table.curve(entrant.config, fold)
                    if bool(curve) == started and not (curve and self._below(entrant, fold, max(curve))):
                        return Job(entrant.config, fold, entrant.horizon)
        return None

    def judge(self, report: Report) -> str | None:
        return self._below(self.score_table.entrants[report.config], report.fold, report.step)

    def answer(self) -> Answer:
        trials = [
            (curve[max(curve)], entrant.config)
            for entrant in self.score_table.alive()
            for fold in range(self.score_table.folds)
            if (curve := self.score_table.curve(entrant.config, fold))
        ]
        winner = max(trials, key=lambda trial: trial[0])[1] if trials else None
        return Answer(winner, (winner,) if winner else ())

    def _below(self, entrant: Entrant, fold: int, step: int) -> str | None:
        own = self.score_table.score(entrant.config, fold, step)
        if own is None or step not in [entrant.step_at(rung) for rung in self.rungs]:
            return None
        cutoff = self._cutoff(step)
        if own >= cutoff:
            return None
        score, limit = map(digits, map(self.score_table.shown, (own, cutoff)))
        return f"stopped: {score} at step {step}, worse than the cutoff of {limit}"

    def _cutoff(self, step: int) -> float:
        if step not in self._cutoffs:
            rung = [
                score
                for entrant in self.score_table.alive()
                for fold in range(self.score_table.folds)
                if (score := self.score_table.score(entrant.config, fold, step)) is not None
            ]
            self._cutoffs[step] = float(np.quantile(rung, 1 - 1 / self.eta))
        return self._cutoffs[step]
