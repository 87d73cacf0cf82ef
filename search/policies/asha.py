"""Asynchronous successive halving whose rungs compare only the same fold at the same step; the decision is the config's."""

from __future__ import annotations

from collections.abc import Iterable

from search.answer import best_complete
from search.policy import Policy
from search.words import Answer, Entrant, Job, Report
from trainable.errors import UserError

Rung = tuple[int, int]


class Asha(Policy):
    """The ladder of a config: the rungs of fold 0, its end, then the end of every further fold.

    Of the configs that reached a rung, the best 1/eta may climb on; scores of another horizon are another rung.
    """

    def __init__(
        self,
        entrants: Iterable[Entrant],
        folds: int,
        budget: float | None = None,
        rungs: tuple[float, ...] = (0.25, 0.5),
        eta: float = 2.0,
    ) -> None:
        if not all(0 < rung < 1 for rung in rungs) or list(rungs) != sorted(set(rungs)):
            raise UserError(f"rungs = {list(rungs)}: must rise, each between 0 and 1")
        if not eta > 1:
            raise UserError(f"eta = {eta}: must be above 1")
        self.rungs, self.eta = rungs, eta
        self._ladders: dict[tuple[int, ...], list[Rung]] = {}
        super().__init__(entrants, folds, budget)

    def add(self, entrant: Entrant) -> None:
        super().add(entrant)
        if entrant.steps not in self._ladders:
            steps = [*(entrant.step_at(rung) for rung in self.rungs), entrant.horizon]
            self._ladders[entrant.steps] = [(0, step) for step in steps] + [
                (fold, entrant.horizon) for fold in range(1, self.board.folds)
            ]

    def choose(self) -> Job | None:
        """The highest rung that anybody may climb to; ties go to the better score, then to the older config."""
        best: tuple[tuple[int, float], Job] | None = None
        for entrant in self.board.standing():
            level, score = self._height(entrant)
            if best is not None and (level, score) <= best[0]:
                continue
            ladder = self._ladders[entrant.steps]
            if level == len(ladder) or (level and self._pause(entrant, ladder[level - 1]) is not None):
                continue
            fold, until = ladder[level]
            if (entrant.config, fold) not in self.board.out:
                best = ((level, score), Job(entrant.config, fold, until))
        return None if best is None else best[1]

    def judge(self, report: Report) -> str | None:
        entrant = self.board.entrants[report.config]
        job = self.board.out.get((report.config, report.fold))
        if (report.fold, report.step) not in self._ladders[entrant.steps] or (job and job.until > report.step):
            return None
        return self._pause(entrant, (report.fold, report.step))

    def answer(self) -> Answer:
        return best_complete(self.board)

    def _height(self, entrant: Entrant) -> tuple[int, float]:
        """How many rungs a config has behind it, and its score at the last one."""
        score = float("-inf")
        for level, (fold, step) in enumerate(self._ladders[entrant.steps]):
            reached = self.board.score(entrant.config, fold, step)
            if reached is None:
                return level, score
            score = reached
        return len(self._ladders[entrant.steps]), score

    def _pause(self, entrant: Entrant, rung: Rung) -> str | None:
        fold, step = rung
        rivals = [
            score
            for other in self.board.standing()
            if other.steps == entrant.steps and (score := self.board.score(other.config, fold, step)) is not None
        ]
        own = self.board.score(entrant.config, fold, step)
        places = max(1, int(len(rivals) / self.eta))
        rank = 1 + sum(score > own for score in rivals if own is not None)
        if own is not None and rank <= places:
            return None
        return f"paused: rank {rank} of {len(rivals)} at step {step} of fold {fold}, the best {places} go on"
