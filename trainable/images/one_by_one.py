"""Methods that segment one image after the other, each of which has scribbles of at least two classes."""

from collections.abc import Sequence

import torch

from trainable.images.method import Probabilities, ScribbledImage
from trainable.images.regions import without_a_choice


class OneByOne:
    """A method of which a subclass writes ``divide``; images that leave no choice are decided here."""

    def batch(self, device: torch.device) -> int:
        return 1

    def segment(self, images: Sequence[ScribbledImage], classes: int, device: torch.device) -> list[Probabilities]:
        return [self._segment(image, classes) for image in images]

    def _segment(self, image: ScribbledImage, classes: int) -> Probabilities:
        alone = without_a_choice(image.scribble, classes)
        return self.divide(image, classes) if alone is None else alone

    def divide(self, image: ScribbledImage, classes: int) -> Probabilities:
        """The probabilities of an image with scribbles of at least two classes."""
        raise NotImplementedError
