"""Asynchronous successive halving (ASHA) with rungs that compare only scores of the same fold at the same step."""

import math
from collections.abc import Iterable, Iterator

from search.messages import Answer, Entrant, Job, Report
from search.policies.contract import Policy
from search.race.answer import best_complete
from trainable.errors import UserError

Steps = tuple[int, ...]
Rung = tuple[int, int]


class Asha(Policy):
    """The ladder of a config: the rungs of fold 0, its horizon, then the horizon of each further fold.

    Of the configs that reached a rung, the best 1/reduction are promoted; each horizon has its own ladder.
    """

    screens_first = False

    def __init__(
        self,
        entrants: Iterable[Entrant],
        folds: int,
        budget: float | None = None,
        rungs: tuple[float, ...] = (0.25, 0.5),
        reduction: float = 2.0,
    ) -> None:
        if not all(0 < rung < 1 for rung in rungs) or list(rungs) != sorted(set(rungs)):
            raise UserError(f"rungs = {list(rungs)}: must rise, each above 0 and below 1")
        if not reduction > 1:
            raise UserError(f"reduction = {reduction}: must be above 1")
        self.rungs, self.reduction = rungs, reduction
        self._ladders: dict[Steps, list[Rung]] = {}
        # caches, cleared when a report changes them
        self._rivals_cache: dict[tuple[Steps, Rung], list[float]] = {}
        self._progress_cache: dict[str, tuple[int, float]] = {}
        super().__init__(entrants, folds, budget)

    def add(self, entrant: Entrant) -> None:
        super().add(entrant)
        if entrant.steps not in self._ladders:
            steps = sorted({*(entrant.step_at(rung) for rung in self.rungs), entrant.horizon})
            ends = [(fold, entrant.horizon) for fold in range(1, self.score_table.folds)]
            self._ladders[entrant.steps] = [(0, step) for step in steps] + ends

    def note(self, report: Report) -> bool:
        rungs = self._ladders[self.score_table.entrants[report.config].steps]
        if (report.fold, report.step) in rungs or not math.isfinite(report.score):
            self._rivals_cache.clear()
            self._progress_cache.pop(report.config, None)
        return super().note(report)

    def choose(self) -> Job | None:
        """The highest rung that any config may train for; ties go to the better score, then to the older config."""
        best, chosen = (-1, 0.0), None
        for level, score, entrant in self._candidates():
            if (level, score) > best and self._may_start(entrant, level, score):
                best, chosen = (level, score), Job(entrant.config, *self._ladders[entrant.steps][level])
        return chosen

    def eligible(self) -> Iterator[Job]:
        for level, score, entrant in self._candidates():
            if self._may_start(entrant, level, score):
                yield Job(entrant.config, *self._ladders[entrant.steps][level])

    def judge(self, report: Report) -> str | None:
        entrant, rung = self.score_table.entrants[report.config], (report.fold, report.step)
        job = self.score_table.outstanding.get((report.config, report.fold))
        if rung not in self._ladders[entrant.steps] or (job is not None and job.until > report.step):
            return None
        own = self.score_table.score(report.config, *rung)
        if own is None or self._is_promoted(entrant, rung, own):
            return None
        return self._pause_reason(entrant, rung, own)

    def why(self, config: str) -> str | None:
        entrant = self.score_table.entrants[config]
        level, score = self._progress(entrant, self._ladders[entrant.steps])
        complete = level == len(self._ladders[entrant.steps])
        if config in self.score_table.failed or complete or self._may_start(entrant, level, score):
            return None
        return self._pause_reason(entrant, self._ladders[entrant.steps][level - 1], score)

    def answer(self) -> Answer:
        return best_complete(self.score_table, self.rungs)

    def _candidates(self) -> Iterator[tuple[int, float, Entrant]]:
        """Configs without an outstanding job for their next rung: its level on the ladder, and the score before it."""
        for entrant in self.score_table.alive():
            ladder = self._ladders[entrant.steps]
            level, score = self._progress(entrant, ladder)
            if level < len(ladder) and (entrant.config, ladder[level][0]) not in self.score_table.outstanding:
                yield level, score, entrant

    def _may_start(self, entrant: Entrant, level: int, score: float) -> bool:
        return level == 0 or self._is_promoted(entrant, self._ladders[entrant.steps][level - 1], score)

    def _pause_reason(self, entrant: Entrant, rung: Rung, score: float) -> str:
        rivals, (fold, step) = self._rivals(entrant.steps, rung), rung
        rank = f"rank {rivals.index(score) + 1} of {len(rivals)} at step {step} of fold {fold}"
        return f"paused: {rank}, outside the top {self._quota(rivals)}"

    def _progress(self, entrant: Entrant, ladder: list[Rung]) -> tuple[int, float]:
        """The number of rungs that a config has completed, and its score at the last one."""
        if entrant.config not in self._progress_cache:
            level, score = 0, float("-inf")
            for fold, step in ladder:
                reached = self.score_table.score(entrant.config, fold, step)
                if reached is None:
                    break
                level, score = level + 1, reached
            self._progress_cache[entrant.config] = level, score
        return self._progress_cache[entrant.config]

    def _is_promoted(self, entrant: Entrant, rung: Rung, score: float) -> bool:
        rivals = self._rivals(entrant.steps, rung)
        return score >= rivals[self._quota(rivals) - 1]

    def _quota(self, rivals: list[float]) -> int:
        return max(1, int(len(rivals) / self.reduction))

    def _rivals(self, steps: Steps, rung: Rung) -> list[float]:
        if (steps, rung) not in self._rivals_cache:
            same = (other.config for other in self.score_table.alive() if other.steps == steps)
            scores = (self.score_table.score(config, *rung) for config in same)
            self._rivals_cache[steps, rung] = sorted((s for s in scores if s is not None), reverse=True)
        return self._rivals_cache[steps, rung]
