"""A network that has seen other images, tuned on the scribbles of the image."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainable.config import SCRIBBLED, ImageConfig
from trainable.data.dataset import UNLABELLED
from trainable.errors import UserError
from trainable.images.method import Probabilities, ScribbledImage
from trainable.images.pretrained.network import PretrainedNetwork, head_of
from trainable.images.pretrained.predicted import class_logits, predicted
from trainable.images.regions import classes_present, without_a_choice
from trainable.networks.scribble_network import ScribbleNetwork, encoder_of

SQUARES = 8  # along the longer side, in which scribbles are hidden together


class Finetune:
    """One image at a time, each from the weights of the network, at the size that this works at.

    A network that sees scribbles as an input could only repeat them, so a random share of them is hidden in each step,
    and it learns from all. Averages of batch norm stay as they are. A class without scribbles has probability 0; an
    image with scribbles of one class alone is given to it, and nothing is tuned.
    """

    def __init__(self, config: ImageConfig, network: PretrainedNetwork) -> None:
        if head_of(network.network) is None:
            raise UserError(
                f"method = finetune: the network of features_from = {config.features_from} has no layer that computes "
                "its logits pixel by pixel, so it cannot be tuned on scribbles; choose another config of the run"
            )
        self.config, self.pretrained = config, network

    def batch(self, device: torch.device) -> int:
        return 1

    def segment(self, images: Sequence[ScribbledImage], classes: int, device: torch.device) -> list[Probabilities]:
        return [self._segment(image, classes) for image in images]

    def _segment(self, image: ScribbledImage, classes: int) -> Probabilities:
        alone = without_a_choice(image.scribble, classes)
        if alone is not None:
            return alone
        pixels, codes = self.pretrained.seen(image.image, image.scribble)
        network = copy.deepcopy(self.pretrained.network).eval()
        present = classes_present(image.scribble)
        labels = torch.full(codes.shape, UNLABELLED, device=codes.device)
        for place, label in enumerate(present):
            labels[codes == label + 1] = place
        optimizer = torch.optim.Adam(list(tuned_parameters(network, self.config.frozen)), self.config.tuning_rate)
        for shown in self._shown(codes, image.seed):
            logits = class_logits(network(pixels, shown), classes)[:, present]
            loss = F.cross_entropy(logits, labels, ignore_index=UNLABELLED)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.inference_mode():
            return predicted(network(pixels, codes), image.scribble, classes)

    def _shown(self, codes: Tensor, seed: int) -> Iterator[Tensor]:
        """The scribbles that the network sees in each step."""
        rng = np.random.default_rng(seed)
        height, width = codes.shape[1:]
        side = max(1, max(height, width) // SQUARES)
        grid = -(-height // side), -(-width // side)
        for _ in range(self.config.tuning_steps):
            if self.pretrained.network.inputs != SCRIBBLED:
                yield codes
                continue
            hidden = (rng.random(grid) < self.config.hidden_scribbles).repeat(side, 0).repeat(side, 1)
            yield codes * torch.from_numpy(~hidden[:height, :width]).to(codes.device)


def tuned_parameters(network: ScribbleNetwork, frozen: str) -> Iterator[nn.Parameter]:
    """The parameters that are not frozen; of the others, no gradient is computed."""
    if frozen == "all_but_head":
        network.requires_grad_(False)
        if head := head_of(network):
            head.requires_grad_(True)
    elif frozen == "encoder":
        encoder_of(network, "frozen = encoder").requires_grad_(False)
    yield from (each for each in network.parameters() if each.requires_grad)
