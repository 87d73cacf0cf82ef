"""An ensemble of methods that segment single images: a manifest is all it needs, for there are no weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from analysis.ensembles.prediction import Pixels, Prediction, checked
from analysis.refinement.chain import Chain
from search.runs.run_folder import Run
from trainable.config import ImageConfig, make_image_config
from trainable.data.task import Task
from trainable.errors import UserError
from trainable.images.pretrained.features import read_pretrained
from trainable.images.results import TAU, foreground
from trainable.images.segmenter import Segmenter
from trainable.storage.checked_json import read_checked
from trainable.training.evaluate import classified

TRAINABLE = "image"
REBUILD = "python -m analysis ensemble RUN rebuilds it"


class MethodEnsemble:
    """Average the probabilities of methods, each at the size of its config; masks are those of the fold trials."""

    channels, tau, tta, sees_scribbles = 3, TAU, "none", True
    refinement: Chain = ()  # probabilities of methods are not refined

    def __init__(
        self,
        configs: Mapping[str, ImageConfig],
        classes: tuple[str, ...],
        device: torch.device,
        pretrained: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    ) -> None:
        """``pretrained`` are the records of the networks of a config's folds, see ``Pretrained``.

        Each is a member, as components of one fold's features mean nothing to those of another.
        """
        self.classes = classes
        self.segmenters: list[Segmenter] = []
        self.divisors: list[np.float32] = []
        for name, config in configs.items():
            records = _distinct((pretrained or {}).get(name, ()))
            networks = [read_pretrained(config, each, len(classes), device) for each in records] or [None]
            self.segmenters += [Segmenter(config, len(classes), device, each) for each in networks]
            self.divisors += [np.float32(len(configs) * len(networks))] * len(networks)

    @property
    def task(self) -> Task:
        return Task(self.classes, declared=True)

    def probabilities(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        images = [(each[..., :-1], each[..., -1]) for each in pixels]
        sizes = [(pixels.shape[2], pixels.shape[1])] * len(images)
        averaged: list[npt.NDArray[np.float32]] = []
        for segmenter, divisor in zip(self.segmenters, self.divisors, strict=True):
            found = [
                foreground(each)
                for batch in segmenter.batches(sizes)
                for each in segmenter.segment(images[batch.start : batch.stop])
            ]
            averaged.append(np.stack(found) / divisor)
        return np.asarray(np.sum(averaged, axis=0), np.float32)

    def predict(self, image: Pixels, scribble: Pixels | None = None) -> Prediction:
        """Segment one image of (H, W, 3) bytes; ``scribble`` has a class per pixel and 255 where there is none."""
        image, scribble = checked(self, image, scribble)
        probability = self.probabilities(np.dstack([image, scribble])[None])[0]
        return Prediction(self.mask_of(probability, image, scribble), probability)

    def mask_of(self, probability: npt.NDArray[np.float32], image: Pixels, scribble: Pixels) -> Pixels:
        return classified(probability, self.tau)


def refuse_methods(run: Run, reason: str) -> None:
    """Raise an error if the run is one of methods, for commands that need networks."""
    if run.space().settings.trainable == TRAINABLE:
        raise UserError(f"{run.name}: {reason}")


def load_methods(manifest: Path, device: torch.device, tta: str | None) -> MethodEnsemble | None:
    """The ensemble of a manifest, or None if it is not one of methods."""
    document = read_checked(manifest, REBUILD) if manifest.exists() else {}
    if document.get("trainable") != TRAINABLE:
        return None
    if tta == "flips":
        raise UserError("--tta flips: is for networks; a method sees each image once")
    configs = {name: make_image_config(values) for name, values in document["configs"].items()}
    return MethodEnsemble(configs, tuple(document["classes"]), device, document.get("pretrained"))


def _distinct(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The records without repetitions: folds that have nothing of their own are one member."""
    return [each for place, each in enumerate(records) if each not in records[:place]]
