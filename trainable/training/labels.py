"""Which images of a data set can be trained on and scored, and whether its labels fit a config."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainable.config import SCRIBBLED, Config
from trainable.data.dataset import SCRIBBLES as SCRIBBLE_FOLDER
from trainable.data.dataset import TRUTH, Split, open_split
from trainable.data.decoded_images import Data, open_data
from trainable.data.groups import read_volumes
from trainable.data.labelled import MASKS, SCRIBBLES
from trainable.data.packed_labels import unpack
from trainable.errors import UserError
from trainable.objectives.class_weights import inverse_frequencies
from trainable.objectives.metrics import is_of_volumes, without_volumes
from trainable.printing import Progress

COPIES = (
    "with supervision=scribbles and inputs=image+scribble a network sees what its loss asks for and may only copy it; "
    "inputs=image is the usual choice"
)


def check_labels(config: Config, split: Split) -> None:
    """Raise one error that lists everything of a config that the labels of a data set do not allow."""
    classes, root = len(split.task.classes), split.root
    problems = []
    if config.supervision == MASKS and not split.truth:
        problems.append(f"supervision = masks: {root} has no {TRUTH}/; use supervision=scribbles")
    if config.supervision == SCRIBBLES and not split.scribbles:
        problems.append(f"supervision = scribbles: {root} has no {SCRIBBLE_FOLDER}/; use supervision=masks")
    if config.inputs == SCRIBBLED and not split.scribbles:
        problems.append(f"inputs = image+scribble: {root} has no {SCRIBBLE_FOLDER}/; use inputs=image")
    if config.class_weights is not None and len(config.class_weights) != classes:
        given = len(config.class_weights)
        problems.append(f"class_weights: {given} weights for {classes} classes ({', '.join(split.task.classes)})")
    if classes > 2 and config.tau != Config.model_fields["tau"].default:
        problems.append(f"tau = {config.tau:g}: is for two classes; of {classes} the most probable one is chosen")
    if problems:
        raise UserError("; ".join(problems))


def check_batch(config: Config, split: Split, folds: int) -> None:
    """Raise an error if a batch is larger than the images that some fold trains on, as far as files alone say."""
    learnt_from = split.truth if config.supervision == MASKS else split.scribbles
    held_out = -(-len(split.images) // folds) if len(learnt_from) == len(split.images) else 0
    if config.batch_size > (training := len(learnt_from) - held_out) > 0:
        raise UserError(f"batch_size: a batch of {config.batch_size} is larger than the {training} training images")


def supervised(config: Config, data: Data) -> npt.NDArray[np.bool_]:
    """The images that have what a config learns from."""
    return data.masked if config.supervision == MASKS else data.scribbled


def drawn_pixels(data: Data, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The scribbled pixels of each class in each of these images."""
    labels = 1 + len(data.task.classes)
    counts = [np.bincount(unpack(data.labels[index])[0].ravel(), minlength=labels) for index in indices]
    return np.asarray(counts, np.int64).reshape(-1, labels)[:, 1:]


def check_drawn(drawn: npt.NDArray[np.int64], classes: Sequence[str], border: bool, fold: int) -> None:
    """Raise an error if a class is scribbled in none of the images that a fold learns from, given their pixels.

    With a ``border``, the first class has labels there.
    """
    pixels = drawn.sum(0)
    if missing := [name for k, name in enumerate(classes) if not pixels[k] and not (border and k == 0)]:
        raise UserError(
            f"supervision = scribbles: none of the {len(drawn)} training images of fold {fold} has a scribble of "
            f"{', '.join(missing)}, which a network could not learn; draw some, or use other folds (fold_seed)"
        )


def scribble_weights(config: Config, data: Data, indices: npt.NDArray[np.int64], fold: int) -> tuple[float, ...] | None:
    """The weights of ``objective: wpce``: classes of a fold's training images by their scribbles' inverse frequency."""
    if config.supervision != SCRIBBLES:
        return None
    drawn, weighted = drawn_pixels(data, indices), config.objective == "wpce"
    check_drawn(drawn, data.task.classes, config.border > 0 and not weighted, fold)
    return inverse_frequencies(drawn.sum(0).tolist()) if weighted else None


def scored(data: Data) -> npt.NDArray[np.bool_]:
    """The images that have what the data set is scored on."""
    return data.masked if data.scored_on == MASKS else data.scribbled


def volumes_of(data: Data, indices: npt.NDArray[np.int64]) -> list[str] | None:
    """The volumes of images, if the data set is one of volumes."""
    return None if data.volumes is None else [data.volumes[data.stems[index]] for index in indices]


def check_validation(split: Split, name: str, inputs: Iterable[str] = ()) -> None:
    """Raise an error if the data set has no split of that name that models of ``split`` can be scored on.

    ``inputs`` are what the models see.
    """
    if name == split.name:
        raise UserError(f"validation = {name}: is the split that is trained on")
    named = open_split(split.root.parent, name)
    if not named.truth:
        raise UserError(f"validation = {name}: {named.root} has no {TRUTH}/, so nothing can be scored on it")
    if SCRIBBLED in inputs and not named.scribbles:
        raise UserError(
            f"validation = {name}: {named.root} has no {SCRIBBLE_FOLDER}/, which networks with inputs = {SCRIBBLED} see"
        )
    if named.volumes_file is not None:
        read_volumes(named.volumes_file, named.stems)


def unscored_volumes(split: Split, name: str, metric: str) -> list[str]:
    """A warning if the metric is one of volumes, which the validation split does not have."""
    if not is_of_volumes(metric) or open_split(split.root.parent, name).volumes_file is not None:
        return []
    return [
        f"validation = {name}: has no {split.task.volumes}, so there is no {metric} of it; "
        f"{without_volumes(metric)} is reported instead"
    ]


def open_validation(
    data: Data, name: str | None, cache: Path | None = None, progress: Progress | None = None
) -> Data | None:
    """The split of that name at the size of the training split; models of that split must be able to predict it."""
    if name is None:
        return None
    check_validation(data.split, name)
    validation = open_data(data.split.root.parent, data.size, name, cache, progress)
    if validation.channels != data.channels:
        kinds = {1: "grey", 3: "coloured"}
        raise UserError(
            f"validation = {validation.split.name}: its images are {kinds[validation.channels]}, "
            f"those of {data.split.name} are {kinds[data.channels]}"
        )
    return validation


def usable(
    indices: npt.NDArray[np.int64], labelled: npt.NDArray[np.bool_], fold: int, purpose: str
) -> npt.NDArray[np.int64]:
    """Those of a fold's images that are labelled; it is an error if there are none."""
    found = indices[labelled[indices]]
    if not len(found):
        raise UserError(f"fold {fold}: none of its {len(indices)} images {purpose} is labelled; use fewer folds")
    return found


def copies_its_input(config: Config) -> bool:
    """Whether a network sees exactly what its loss asks for, and so may learn to copy scribbles only."""
    return config.supervision == SCRIBBLES and config.inputs == SCRIBBLED
