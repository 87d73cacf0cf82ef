"""What a fold trial reports of an evaluation, its best weights so far, and the time that it took."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from trainable.printing import digits


@dataclass(frozen=True)
class Report:
    """One evaluation of a fold trial at working size; ``seconds`` is the time spent on the fold trial so far, and
    ``gpus`` the share of a GPU that it has (1 if there is no GPU).
    """

    step: int
    epoch: float
    loss: float
    validation_loss: float
    scores: dict[str, float]
    learning_rate: float
    seconds: float
    finished: bool
    gpus: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """Flat, as written to metrics.jsonl, which omits a share of one whole GPU."""
        left_out = {"scores", "gpus"} if self.gpus == 1.0 else {"scores"}
        values = {key: value for key, value in vars(self).items() if key not in left_out}
        return {**values, **self.scores}

    def words(self, brief: bool = False) -> str:
        text = f"epoch {self.epoch:.1f}  loss {digits(self.loss)}"
        return text if brief else f"{text}  val {digits(self.validation_loss)}"


@dataclass
class Best:
    """The best weights so far and their step."""

    score: float = -math.inf
    step: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


class Stopwatch:
    """Seconds spent on a fold trial in all its jobs, without the time in which its caller handles a report."""

    def __init__(self) -> None:
        self._before = 0.0
        self._started: float | None = None

    @property
    def seconds(self) -> float:
        return self._before + (0.0 if self._started is None else time.perf_counter() - self._started)

    def start(self) -> None:
        self._started = time.perf_counter()

    def stop(self) -> None:
        self._before, self._started = self.seconds, None

    def set(self, seconds: float) -> None:
        self._before = seconds
