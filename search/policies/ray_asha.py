"""A baseline: Ray Tune's ASHA as it comes. Every fold trial is on its own, all folds share a rung, the best trial wins."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from search.policy import Policy
from search.words import Answer, Entrant, Job, Report


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
        super().__init__(entrants, folds, budget)

    def choose(self) -> Job | None:
        for entrant in self.board.standing():
            for fold in self.board.open_folds(entrant.config):
                curve = self.board.curve(entrant.config, fold)
                if not curve or self._below(entrant, fold, max(curve)) is None:
                    return Job(entrant.config, fold, entrant.horizon)
        return None

    def judge(self, report: Report) -> str | None:
        return self._below(self.board.entrants[report.config], report.fold, report.step)

    def answer(self) -> Answer:
        trials = [
            (curve[max(curve)], entrant.config)
            for entrant in self.board.standing()
            for fold in range(self.board.folds)
            if (curve := self.board.curve(entrant.config, fold))
        ]
        winner = max(trials, key=lambda trial: trial[0])[1] if trials else None
        return Answer(winner, (winner,) if winner else ())

    def _below(self, entrant: Entrant, fold: int, step: int) -> str | None:
        if step not in [entrant.step_at(rung) for rung in self.rungs]:
            return None
        own = self.board.score(entrant.config, fold, step)
        rung = [
            score
            for other in self.board.standing()
            for each in range(self.board.folds)
            if (score := self.board.score(other.config, each, step)) is not None
        ]
        cut = float(np.quantile(rung, 1 - 1 / self.eta))
        if own is not None and own >= cut:
            return None
        return f"stopped: {own:.4f} at step {step}, the best third of all fold trials have {cut:.4f}"
