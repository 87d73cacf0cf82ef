"""What ``predict`` wrote beside its masks: how they were made, and from which probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from analysis.refinement.chain import Chain, read_chain
from trainable.data.dataset import BadFile, Pixels
from trainable.errors import UserError
from trainable.storage.checked_json import read_checked
from trainable.training.evaluate import classified

RECORD = "predictions.json"  # beside the masks: the ensemble, the options, and which images it was trained on
PROBABILITIES = "probabilities"
AGAIN = "predict the masks again"
FULL = 65535  # of a 16-bit picture: a probability of 1


@dataclass(frozen=True)
class Prediction:
    """How the masks of a folder were made; ``tau`` is the threshold of two classes, ``scribbled`` says whether pixels
    under a scribble got its label. ``classes`` are those of the ensemble, empty if unknown.
    """

    folder: Path
    chain: Chain
    tau: float
    scribbled: bool
    classes: tuple[str, ...]

    def needs_probabilities(self) -> float:
        """The threshold of the probabilities; an error if they do not give the masks before refinement."""
        if self.scribbled:
            raise UserError(
                f"{self.folder}: was predicted with --respect-scribbles, so its probabilities do not give the masks "
                "before refinement; predict --no-refine --respect-scribbles makes them"
            )
        if not (self.folder / PROBABILITIES).is_dir():
            raise UserError(
                f"{self.folder}: has no {PROBABILITIES}/, so masks before refinement are not known; "
                "predict --probabilities writes them, and predict --no-refine leaves the refinement out"
            )
        return self.tau


def prediction_of(masks: Path) -> Prediction:
    """Of masks from elsewhere, nothing is known."""
    path = masks / RECORD
    record = read_checked(path, AGAIN) if path.exists() else {}
    made_by = record.get("made_by", {})
    return Prediction(
        masks,
        read_chain(made_by.get("refinement", []), str(path)),
        record.get("tau", 0.5),
        made_by.get("respect_scribbles", False),
        tuple(record.get("classes", ())),
    )


def mask_before(mask: Path, classes: int, tau: float) -> Pixels:
    """The mask that the probabilities beside a refined mask give."""
    path = mask.parent / PROBABILITIES / f"{mask.stem}.png"
    height, width = _opened(mask).shape[:2]
    maps = 1 if classes == 2 else classes
    stored = _opened(path)
    if stored.shape != (maps * height, width):
        raise BadFile(path, f"is no picture of the probabilities of {classes} classes at {width}x{height}")
    values = (stored / FULL).astype(np.float32)
    return classified(values if classes == 2 else values.reshape(classes, height, width), tau)


def _opened(path: Path) -> np.ndarray[Any, Any]:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture)
    except OSError as error:
        raise BadFile(path, f"cannot be read ({error})") from None


def refuse_seen(masks: Path) -> None:
    """Refuse masks that an ensemble predicted for its own training images."""
    path = masks / RECORD
    seen = read_checked(path, AGAIN)["seen"] if path.exists() else []
    if seen:
        named = ", ".join(seen[:3]) + (", ..." if len(seen) > 3 else "")
        raise UserError(
            f"{masks}: {len(seen)} of these images ({named}) were trained on by members of the ensemble that made the "
            "masks, so their scores would not be representative of new images; its members' scores on images that they "
            f"did not train on are in the ensemble's manifest, and python -m analysis best RUN shows them"
        )
