"""Finds every problem of a data set, each with its file."""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from trainable.checks.class_facts import class_facts, class_problems, empty_masks
from trainable.checks.diagnosis import ERRORS, WARNINGS, Diagnosis, Problem, Size, SplitFacts, by
from trainable.checks.leaks import duplicate_images, shared_groups
from trainable.checks.listing import listing
from trainable.checks.memberships import Membership, membership, mistakes
from trainable.checks.sample_check import Sample, look_at_all, statistics
from trainable.checks.volume_check import volume_problems
from trainable.config import STRIDE
from trainable.data import dataset
from trainable.data.dataset import IMAGES, Split
from trainable.data.task import FILE as TASK_FILE
from trainable.data.task import Task, read_task
from trainable.errors import UserError
from trainable.printing import Progress, plural


def examine(folder: Path, split: str = "train", progress: Progress | None = None) -> Diagnosis:
    """Check every file of every split; ``split`` is the one to train on.

    Without a valid ``dataset.yaml`` nothing is known about labels, so then no image is opened.
    """
    task, problems = _task(folder)
    sound = not problems
    found = dataset.find_splits(folder, task)
    splits = sorted(found.values(), key=lambda one: (one.name != split, one.name))
    members = {one.name: membership(one) for one in splits if task.declared or one.name == split}
    groups = {name: one.groups for name, one in members.items()}
    problems += [problem for one in members.values() for problem in one.problems]
    problems += listing(folder, splits, split, task)
    samples = look_at_all(splits, progress) if sound else []
    problems += [problem for sample in samples for problem in sample.problems]
    problems += duplicate_images(samples, split, groups)
    training = [sample for sample in samples if sample.split.name == split]
    classes = class_facts(task, training) if sound else ()
    size, size_problems = _working_size(training)
    problems += size_problems
    if task.declared:
        problems += shared_groups(splits, groups)
        problems += class_problems(found[split], classes) if split in found else ()
        problems += _volumes(splits, members, samples)
    order = {kind: k for k, kind in enumerate(ERRORS + WARNINGS)}
    facts = tuple(_facts(one, members.get(one.name, Membership()), sound) for one in splits)
    diagnosis = Diagnosis(
        folder,
        facts,
        tuple(sorted(problems, key=lambda one: (order[one.kind], one.file, _line(one.text), one.text))),
        next((one.hash for one in facts if one.name == split), None),
        Counter(sorted(sample.size for sample in samples if sample.size)),
        working_size=size,
        task=task,
        classes=classes,
        empty_masks=empty_masks(task, training),
        **statistics(training if task.declared else [sample for sample in samples if sample.split.labelled]),
    )
    return _in_grey(diagnosis) if task.declared and all(sample.grey for sample in training) else diagnosis


def _task(folder: Path) -> tuple[Task, list[Problem]]:
    """What the data set declares; a declared one that is known by nothing else if its file has mistakes."""
    try:
        return read_task(folder), []
    except UserError as error:
        return Task(declared=True), mistakes(folder / TASK_FILE, "dataset", error)


def _facts(split: Split, members: Membership, sound: bool) -> SplitFacts:
    volumes = len({place.volume for place in members.slices.values()})
    groups = len(set(members.groups.values()))
    return SplitFacts(
        split.name,
        len(split.images),
        split.labelled,
        _hash(split) if sound else None,  # what a data set declares is part of its hash
        len(split.truth),
        len(split.scribbles),
        volumes,
        groups,
    )


def _hash(split: Split) -> str | None:
    """None if a file cannot be read, which is then among the problems."""
    try:
        return split.hash
    except OSError:
        return None


def _line(text: str) -> int:
    """The line of a mistake, so that line 5 is listed before line 11, and what has no line after both."""
    found = re.match(r"line (\d+):", text)
    return int(found[1]) if found else sys.maxsize


def _working_size(training: Sequence[Sample]) -> tuple[Size | None, list[Problem]]:
    sizes = [sample.size for sample in training if sample.size]
    if not sizes:
        return None, []
    split = training[0].split
    try:
        size = dataset.working_size(sizes, STRIDE)
    except UserError as error:
        return None, [Problem(split.root, "working size", str(error))]
    count = len(set(sizes))
    if count == 1 or not split.task.declared:
        return size, []
    text = f"has images of {plural(count, 'size')}; all are resized to {by(size)}"
    return size, [Problem(split.root / IMAGES, "mixed sizes", text)]


def _volumes(
    splits: Sequence[Split], members: Mapping[str, Membership], samples: Sequence[Sample]
) -> Iterator[Problem]:
    for one in splits:
        sizes = {sample.stem: sample.size for sample in samples if sample.split.name == one.name and sample.size}
        if one.volumes_file:
            yield from volume_problems(one.volumes_file, members[one.name].slices, sizes)


def _in_grey(diagnosis: Diagnosis) -> Diagnosis:
    """With one value for the channel that grey images have."""
    mean, std = diagnosis.mean, diagnosis.std
    return replace(diagnosis, mean=mean and mean[:1], std=std and std[:1])
