"""Which settings of each step are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

from analysis.refinement.steps.components import Holes, LargestComponent, SmallestComponent
from analysis.refinement.steps.crf import DenseCrf
from analysis.refinement.steps.relaxation import Relaxation
from analysis.refinement.steps.scribbles import Scribbles
from analysis.refinement.steps.step import MapStep, Step
from analysis.refinement.steps.thresholds import ClassWeights, Threshold
from trainable.data.task import Task

Round = Callable[[Step | None], Sequence[Step]]  # from the setting that is chosen so far to those to try

TAUS = tuple(number / 20 for number in range(2, 19))  # 0.1 to 0.9
FACTORS = (0.25, 0.5, 0.7, 1.4, 2.0, 4.0)  # of the weight of a class
SMALLEST = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02)  # shares of the image
HOLES = (0.001, 0.005, 0.02, 1.0)
APPEARANCE, POSITION, COLOUR, SMOOTHNESS = (3.0, 10.0), (0.04, 0.1), (8.0, 16.0), 3.0

BORDERS, EDGE_GAMMA = (0.02, 0.1, 0.5), 12.0  # costs of a border, and how much cheaper it is along edges


def rounds_of(kind: type[Step], task: Task) -> list[Round]:
    """The rounds in which the settings of a step are chosen, one after the other; none if it does not fit the task."""
    if kind is Threshold:
        return [lambda now: [Threshold(tau) for tau in TAUS]] if task.binary else []
    if kind is ClassWeights:
        return [] if task.binary else [_weight_of(label, len(task.classes)) for label in range(1, len(task.classes))]
    settings: dict[type[Step], Sequence[Step]] = {
        DenseCrf: [
            DenseCrf(appearance, position, colour, SMOOTHNESS)
            for position, colour, appearance in product(POSITION, COLOUR, APPEARANCE)
        ],
        Relaxation: [Relaxation(smoothness, EDGE_GAMMA) for smoothness in BORDERS],
        SmallestComponent: [SmallestComponent(share) for share in SMALLEST],
        LargestComponent: [LargestComponent()],
        Holes: [Holes(share) for share in HOLES],
        Scribbles: [Scribbles()],
    }
    return [lambda now: settings[kind]]


def settings_at_once(kinds: Sequence[type[Step]], task: Task) -> int:
    """The most settings of a step on the same probabilities, each of which makes probabilities of its own."""
    rounds = [settings for kind in kinds if issubclass(kind, MapStep) for settings in rounds_of(kind, task)]
    return max((len(settings(None)) for settings in rounds), default=0)


def _weight_of(label: int, classes: int) -> Round:
    """A round that changes the weight of one class."""

    def settings(now: Step | None) -> list[Step]:
        weights = now.weights if isinstance(now, ClassWeights) else (1.0,) * classes
        return [ClassWeights((*weights[:label], factor, *weights[label + 1 :])) for factor in FACTORS]

    return settings
