"""SAM, prompted with points on the scribbles; nothing is learnt from the image."""

from collections.abc import Sequence

import torch

from trainable.config import ImageConfig
from trainable.images.method import Probabilities, ScribbledImage
from trainable.images.pretrained.network import PretrainedNetwork
from trainable.images.pretrained.predicted import predicted
from trainable.images.regions import without_a_choice


class Sam:
    """One image at a time, at SAM's own size. A class without scribbles has probability 0."""

    def __init__(self, config: ImageConfig, network: PretrainedNetwork) -> None:
        self.network = network

    def batch(self, device: torch.device) -> int:
        return 1

    @torch.inference_mode()
    def segment(self, images: Sequence[ScribbledImage], classes: int, device: torch.device) -> list[Probabilities]:
        return [self._segment(image, classes) for image in images]

    def _segment(self, image: ScribbledImage, classes: int) -> Probabilities:
        alone = without_a_choice(image.scribble, classes)
        if alone is not None:
            return alone
        logits = self.network.network(*self.network.seen(image.image, image.scribble))
        return predicted(logits, image.scribble, classes)
