"""Label values of a source translated into those of the platform."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainable.data.dataset import UNLABELLED, BadFile, Pixels


def mask_meaning(classes: Sequence[str]) -> dict[int, int]:
    return {index: index for index in range(len(classes))}


def scribble_meaning(classes: Sequence[str], unlabelled: int) -> dict[int, int]:
    return mask_meaning(classes) | {unlabelled: UNLABELLED}


def translate(values: npt.NDArray[Any], meaning: Mapping[int, int], file: Path, subject: str = "") -> Pixels:
    """Replace each value by its meaning; a value without one is an error of the file.

    ``subject`` names the array if the file holds several.
    """
    found = np.unique(values).tolist()
    strange = [value for value in found if value not in meaning]
    if strange:
        shown = ", ".join(f"{value:g}" for value in strange[:5]) + (", ..." if len(strange) > 5 else "")
        allowed = ", ".join(
            f"{value} (unlabelled)" if label == UNLABELLED != value else str(value)
            for value, label in sorted(meaning.items())
        )
        has = f"{subject} contains" if subject else "contains"
        raise BadFile(file, f"{has} the {'value' if len(strange) == 1 else 'values'} {shown}; allowed are {allowed}")
    labels = np.zeros(values.shape, np.uint8)
    for value in found:
        labels[values == value] = meaning[value]
    return labels
