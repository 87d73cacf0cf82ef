"""How much the masks and scribbles of a split show of each class, and which class cannot be learnt from them."""

from collections.abc import Iterator, Sequence

import numpy as np

from trainable.checks.class_table import ClassFacts
from trainable.checks.diagnosis import Problem
from trainable.checks.sample_check import Counts, Sample
from trainable.data.dataset import BACKGROUND, SCRIBBLES, TRUTH, Split
from trainable.data.task import Task


def class_facts(task: Task, samples: Sequence[Sample]) -> tuple[ClassFacts, ...]:
    """A line per class of a declared data set; ``samples`` are those of the training split."""
    if not task.declared:
        return ()
    masks = [one.mask[:-1] for one in samples if one.mask is not None]  # without ignored pixels
    scribbles = [one.scribble for one in samples if one.scribble is not None]
    return tuple(
        ClassFacts(name, _share(masks, k), _images(masks, k), _share(scribbles, k), _images(scribbles, k))
        for k, name in enumerate(task.classes)
    )


def empty_masks(task: Task, samples: Sequence[Sample]) -> int:
    """How many masks of a declared data set show nothing but background."""
    if not task.declared:
        return 0
    masks = [one.mask[:-1] for one in samples if one.mask is not None]
    return sum(np.flatnonzero(mask).tolist() == [BACKGROUND] for mask in masks)


def class_problems(split: Split, classes: Sequence[ClassFacts]) -> Iterator[Problem]:
    """Classes that a kind of label never shows, where there are such labels."""
    for one in classes:
        if one.mask_share is not None and not one.mask_images:
            text = f"shows {one.name} in no mask: the class cannot be learnt with supervision=masks"
            yield Problem(split.root / TRUTH, "class", text)
        if one.scribble_share is not None and not one.scribble_images:
            text = f"shows {one.name} in no scribble: the class cannot be learnt with supervision=scribbles"
            yield Problem(split.root / SCRIBBLES, "class", text)


def _share(labels: Sequence[Counts], label: int) -> float | None:
    total = sum(int(counts.sum()) for counts in labels)
    return sum(int(counts[label]) for counts in labels) / total if total else None


def _images(labels: Sequence[Counts], label: int) -> int:
    return sum(bool(counts[label]) for counts in labels)
