"""An ensemble: the fold models of one or several configs, averaged as probability maps at the image's own size.

It takes an image and its scribble as they are on disk and returns probabilities per pixel: that of the foreground for
two classes, else one per class. Its file is all it needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.ensembles.methods import MethodEnsemble, load_methods
from analysis.ensembles.prediction import Pixels, Prediction, checked
from analysis.ensembles.refinement_file import read_refinement
from analysis.ensembles.resize import lanczos, nearest
from analysis.refinement.chain import Chain, refined
from analysis.refinement.steps.step import Scene
from search.runs.run_tables import RETRAIN
from trainable.config import SCRIBBLED, make_config
from trainable.data import dataset
from trainable.data.task import Task
from trainable.errors import UserError
from trainable.machine.device import pick_device
from trainable.networks.scribble_network import ScribbleNetwork, probabilities_of
from trainable.training import checkpoint
from trainable.training.evaluate import classified

VERSION = 1
FILE, MANIFEST = "ensemble.pt", "ensemble.json"
Flips = Literal["none", "flips"]
FLIPS: dict[Flips, tuple[tuple[int, ...], ...]] = {"none": ((),), "flips": ((), (1,), (2,), (1, 2))}


@dataclass(frozen=True)
class Member:
    """The best weights of a fold and their working size."""

    config: str
    fold: int
    size: tuple[int, int]
    state: checkpoint.State

    @property
    def channels(self) -> int:
        """Those of the image."""
        return int(self.state["weights"]["mean"].numel())

    @property
    def classes(self) -> tuple[str, ...]:
        return checkpoint.classes_of(self.state)

    def network(self) -> ScribbleNetwork:
        network = checkpoint.empty_network(checkpoint.config_of(self.state), self.channels, self.classes)
        network.load_state_dict(self.state["weights"])
        return network


class Ensemble(nn.Module):
    """Average the members' probabilities; members with the same working size share the resizing.

    ``refinement`` is applied by ``mask_of``, and so by ``predict``; ``forward`` returns probabilities without it.
    """

    def __init__(self, members: Sequence[Member], tau: float, tta: Flips, refinement: Chain = ()) -> None:
        super().__init__()
        _check_flips(tta)
        self.refinement = refinement
        self.members, self.tau, self.tta = tuple(members), tau, tta
        self.classes, self.channels = same_classes(members), members[0].channels
        self.sees_scribbles = any(checkpoint.config_of(member.state).inputs == SCRIBBLED for member in members)
        self.networks = nn.ModuleList(member.network() for member in members)
        self.eval()

    @property
    def task(self) -> Task:
        """What the pixels of a mask and a scribble mean."""
        return Task(self.classes, declared=True)

    def forward(self, pixels: Tensor) -> Tensor:
        """``pixels`` is (B, H, W, C + 1) bytes, the image and the labels of the scribble file.

        Returns (B, H, W) of two classes, else (B, K, H, W).
        """
        images = pixels[..., : self.channels].to(torch.float32)
        scribble = _codes(pixels[..., self.channels])
        maps = []
        for size in dict.fromkeys(member.size for member in self.members):
            small, marks = lanczos(images, size), nearest(scribble, size)
            summed = torch.stack([self._probability(i, small, marks) for i in self._of_size(size)]).sum(0)
            maps.append(F.interpolate(summed, size=pixels.shape[1:3], mode="bilinear", align_corners=False))
        averaged = torch.stack(maps).sum(0) / len(self.members)
        return averaged[:, 0] if len(self.classes) == 2 else averaged

    def predict(self, image: npt.NDArray[np.uint8], scribble: npt.NDArray[np.uint8] | None = None) -> Prediction:
        """Segment one image of (H, W, 3) bytes, or (H, W) if the ensemble was trained on grey ones.

        ``scribble`` is (H, W) with a class per pixel and 255 where there is none; a model that sees the image alone
        needs no scribble.
        """
        image, scribble = checked(self, image, scribble)
        probability = self.probabilities(np.dstack([image, scribble])[None])[0]
        return Prediction(self.mask_of(probability, image, scribble), probability)

    def mask_of(self, probability: npt.NDArray[np.float32], image: Pixels, scribble: Pixels) -> Pixels:
        """The mask that is made of the probabilities of one image, refined if the ensemble has a refinement."""
        if not self.refinement:
            return classified(probability, self.tau)
        scene = Scene(np.atleast_3d(image), scribble, next(self.parameters()).device)
        return refined(probability, scene, self.refinement, self.tau)

    def probabilities(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            found = self(torch.from_numpy(pixels).to(next(self.parameters()).device))
        return np.asarray(found.cpu().numpy(), np.float32)

    def _of_size(self, size: tuple[int, int]) -> list[int]:
        return [number for number, member in enumerate(self.members) if member.size == size]

    def _probability(self, number: int, images: Tensor, scribble: Tensor) -> Tensor:
        """The probabilities of one member at its working size, (B, 1 or K, H, W), averaged over flips."""
        return _over_flips(self.networks[number], images, scribble, self.tta)


class FlipAveraged(nn.Module):
    """A network whose probabilities are averaged over flips of its images."""

    def __init__(self, network: nn.Module, tta: Flips) -> None:
        super().__init__()
        _check_flips(tta)
        self.network, self.tta = network, tta

    def forward(self, images: Tensor, scribble: Tensor) -> Tensor:
        """Logits of the averaged probabilities, as those of the network itself."""
        probability = _over_flips(self.network, images, scribble, self.tta)
        return probability.logit() if probability.shape[1] == 1 else probability.log()


def _check_flips(tta: str) -> None:
    if tta not in FLIPS:
        raise UserError(f"tta {tta!r}: allowed are {' and '.join(FLIPS)}")


def _over_flips(network: nn.Module, images: Tensor, scribble: Tensor, tta: Flips) -> Tensor:
    views = []
    for axes in FLIPS[tta]:
        flipped, marks = (torch.flip(each, axes) if axes else each for each in (images, scribble))
        probability = probabilities_of(network(flipped, marks))
        views.append(torch.flip(probability, [axis + 1 for axis in axes]) if axes else probability)
    return torch.stack(views).mean(0)


def _codes(labels: Tensor) -> Tensor:
    """The labels of a scribble file as the codes that networks expect."""
    return torch.where(labels == dataset.UNLABELLED, torch.zeros_like(labels), labels + 1)


def read_member(config: str, fold: int, folder: Path) -> Member:
    """A fold's best weights from its folder."""
    try:
        state = checkpoint.load(folder / checkpoint.BEST)
    except checkpoint.Damaged as error:
        raise UserError(f"{error}; {RETRAIN}") from None
    return Member(config, fold, _size(state), state)


def save_ensemble(ensemble: Ensemble, path: Path) -> None:
    """Save everything needed to predict in one file, which is loaded as weights only and cannot run code."""
    keep = ("config", "size", "weights", "step", "score", "fold", "data_hash", "folds_hash", "classes")
    members = [
        {"id": member.config} | {key: member.state[key] for key in keep if key in member.state}
        for member in ensemble.members
    ]
    checkpoint.save({"ensemble": VERSION, "tau": ensemble.tau, "tta": ensemble.tta, "members": members}, path)


def load_ensemble(
    path: str | Path, device: str | torch.device = "auto", tta: Flips | None = None, refine: bool = True
) -> Ensemble | MethodEnsemble:
    """Load an ensemble from its file or its folder, with the refinement beside it if any.

    One of methods is a manifest alone.
    """
    file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    device = pick_device(device) if isinstance(device, str) else device
    if not file.exists():
        manifest = Path(path) / MANIFEST if Path(path).is_dir() else Path(path)
        if methods := load_methods(manifest, device, tta):
            return methods
        raise UserError(f"{file}: no such ensemble; python -m analysis ensemble RUN makes one")
    try:
        state = checkpoint.load(file)
    except checkpoint.Damaged as error:
        raise UserError(f"{error}; python -m analysis ensemble RUN rebuilds it") from None
    if state.get("ensemble") != VERSION:
        what = "a single fold's checkpoint" if "weights" in state else "not an ensemble of this version"
        raise UserError(f"{file}: is {what}; python -m analysis ensemble RUN makes an ensemble")
    members = [Member(each["id"], each["fold"], _size(each), each) for each in state["members"]]
    classes = same_classes(members)
    chain = read_refinement(file.parent, [member.config for member in members], classes) if refine else ()
    return Ensemble(members, state["tau"], tta or state["tta"], chain).to(device).to(memory_format=torch.channels_last)


def same_threshold(members: Sequence[Member]) -> float:
    """The threshold of all members, which must be the same."""
    return one_threshold({make_config(member.state["config"]).tau: member.config for member in members})


def one_threshold(thresholds: Mapping[float, str]) -> float:
    """The only one of these thresholds, each with a config that has it."""
    if len(thresholds) > 1:
        found = ", ".join(f"{config} has {tau:g}" for tau, config in thresholds.items())
        raise UserError(f"the configs have different thresholds tau ({found}), so they cannot form an ensemble")
    (tau,) = thresholds
    return tau


def same_classes(members: Sequence[Member]) -> tuple[str, ...]:
    """The classes of all members, which must be the same."""
    found = dict.fromkeys(member.classes for member in members)
    if len(found) > 1:
        raise UserError(f"the models have different classes: {' and '.join(', '.join(names) for names in found)}")
    return members[0].classes


def _size(state: checkpoint.State) -> tuple[int, int]:
    width, height = state["size"]
    return int(width), int(height)
