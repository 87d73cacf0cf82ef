"""What folds are made of: the labels of a split, whether its images are decoded in advance or not."""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from trainable.data.dataset import Split
from trainable.data.groups import read_volumes
from trainable.data.task import Task

MASKS, SCRIBBLES = "masks", "scribbles"


class Labelled:
    """A split with the ``shares`` of its classes: a row per stem, a column per class."""

    split: Split
    hash: str
    stems: tuple[str, ...]
    shares: npt.NDArray[np.float64]

    @property
    def task(self) -> Task:
        return self.split.task

    @property
    def scored_on(self) -> str:
        """What held-out images are scored on: masks, or scribbled pixels if no image has a mask."""
        return MASKS if self.split.truth else SCRIBBLES

    @cached_property
    def volumes(self) -> dict[str, str] | None:
        """The volume of each slice, if the data set is one of volumes."""
        path = self.split.volumes_file
        if path is None:
            return None
        places = read_volumes(path, self.stems)
        return {stem: places[stem].volume if stem in places else stem for stem in self.stems}

    @property
    def foreground_shares(self) -> dict[str, float]:
        return dict(zip(self.stems, self.shares[:, 1:].sum(axis=1).tolist(), strict=True))

    @property
    def class_shares(self) -> dict[str, list[float]]:
        """The shares of all classes but the first."""
        return dict(zip(self.stems, self.shares[:, 1:].tolist(), strict=True))


def label_facts(data: Labelled) -> dict[str, Any]:
    """What scores of a data set are about, apart from what is usual: two classes, images, masks."""
    facts: dict[str, Any] = {"classes": list(data.task.classes)} if data.task.declared else {}
    if data.volumes is not None:
        facts["volumes"] = True
    if data.scored_on != MASKS:
        facts["scored_on"] = data.scored_on
    return facts
