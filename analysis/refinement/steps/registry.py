"""All steps, in the order in which a chain applies them."""

from __future__ import annotations

from analysis.refinement.steps.components import Holes, LargestComponent, SmallestComponent
from analysis.refinement.steps.crf import DenseCrf
from analysis.refinement.steps.relaxation import Relaxation
from analysis.refinement.steps.scribbles import Scribbles
from analysis.refinement.steps.step import Step
from analysis.refinement.steps.thresholds import ClassWeights, Threshold

# Probabilities, the decision, then the mask: islands go before holes are filled, and scribbles have the last word.
ORDER: tuple[type[Step], ...] = (
    DenseCrf,
    Relaxation,
    Threshold,
    ClassWeights,
    SmallestComponent,
    LargestComponent,
    Holes,
    Scribbles,
)
STEPS: dict[str, type[Step]] = {step.name: step for step in ORDER}
