"""Score masks against the truth: every metric, per image, per volume and pooled, and confusion between classes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from analysis.ensembles.inputs import listed
from analysis.ensembles.prediction_record import Prediction, mask_before, prediction_of, refuse_seen
from analysis.refinement.chain import Chain
from trainable.data.dataset import IMAGES, SUFFIXES, TRUTH, BadFile
from trainable.data.groups import Slice, read_volumes
from trainable.data.reading import read_mask
from trainable.data.task import FEWEST, FILE, TWO_CLASSES, Task, read_task
from trainable.errors import UserError
from trainable.objectives.boundary import boundary_f1
from trainable.objectives.metrics import Counts, class_dices, class_ious, count, scores, volume_dices
from trainable.printing import Progress, plural

BOUNDARY = "boundary_f1"


@dataclass(frozen=True)
class Scored:
    """The scores of one image; ``boundary`` has a value per class but the first, NaN where no mask shows it."""

    stem: str
    counts: Counts
    boundary: tuple[float, ...]
    task: Task

    def row(self) -> dict[str, Any]:
        """Of several classes, those that neither mask shows have no value."""
        values: dict[str, Any] = dict(scores(self.counts[None], self.task))
        if not self.task.binary:
            ious, dices = class_ious(self.counts[None])[0], class_dices(self.counts[None])[0]
            for k, name in enumerate(self.task.classes):
                if np.isnan(ious[k]):
                    values |= {f"iou_{name}": None} | ({f"dice_{name}": None} if k else {})
            values["dice"] = None if np.isnan(dices[1:]).all() else values["dice"]
        return {"image": self.stem, **values, **boundary_scores([self], self.task)}


@dataclass(frozen=True)
class Evaluated:
    """All scored images, the worst first, and the problems of the others.

    ``volumes`` has the volume of each image, ``refinement`` what the masks were refined by, and ``notes`` classes that
    do not agree and what scores of volumes leave out.
    """

    images: tuple[Scored, ...]
    problems: tuple[BadFile, ...]
    task: Task
    volumes: tuple[str, ...] | None
    refinement: Chain = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def counts(self) -> Counts:
        return np.stack([each.counts for each in self.images])

    def pooled(self) -> dict[str, Any]:
        """Pooled metrics; the boundary metric is the mean over images."""
        values = scores(self.counts, self.task, self.volumes)
        return {"images": len(self.images), **values, **boundary_scores(self.images, self.task)}

    def confusion(self) -> list[dict[str, Any]]:
        """Of the pixels of each class, the share that was predicted as each."""
        pooled = self.counts.sum(axis=0)
        shares = pooled / np.maximum(pooled.sum(axis=1, keepdims=True), 1)
        names = self.task.classes
        return [
            {"truth": name, "pixels": int(pooled[k].sum()), **dict(zip(names, shares[k].tolist(), strict=True))}
            for k, name in enumerate(names)
        ]

    def per_volume(self) -> list[dict[str, Any]]:
        """Dice per volume and class, the worst volume first; of several classes none for one that neither shows."""
        if self.volumes is None:
            return []
        dices = volume_dices(self.counts, self.volumes, self.task)
        rows = []
        for volume, values in zip(sorted(set(self.volumes)), dices.tolist(), strict=True):
            known = [value for value in values if value == value]
            by_class = zip(self.task.foreground, values, strict=True)
            rows.append(
                {
                    "volume": volume,
                    "slices": self.volumes.count(volume),
                    "dice": sum(known) / len(known) if known else None,
                    **{name: value if value == value else None for name, value in by_class},
                }
            )
        return sorted(rows, key=lambda row: (1.0 if row["dice"] is None else row["dice"], row["volume"]))


def boundary_scores(images: Sequence[Scored], task: Task) -> dict[str, Any]:
    """The mean over images of the boundary F1, over classes and of each; None if no image shows any of a class."""
    table = np.array([each.boundary for each in images])
    known = np.isfinite(table)
    means = [float(table[known[:, k], k].mean()) if known[:, k].any() else None for k in range(table.shape[1])]
    found = [mean for mean in means if mean is not None]
    values: dict[str, Any] = {BOUNDARY: sum(found) / len(found) if found else None}
    if not task.binary:
        values |= {f"{BOUNDARY}_{name}": mean for name, mean in zip(task.foreground, means, strict=True)}
    return values


def evaluate_masks(
    masks: Path, truth: Path, progress: Progress, classes: Sequence[str] = (), refine: bool = True
) -> Evaluated:
    """Score every mask that has a truth; images without a mask or a truth are listed as problems.

    The classes are those that the data set of the truth declares, unless they are given. Without ``refine``, masks that
    were refined are replaced by what their probabilities give.
    """
    folder, split = _truth_folder(truth)
    task = _task_of(split)
    if classes:  # then 255 in a truth is ignored; of two classes it is usually the foreground
        task = replace(task, classes=tuple(classes), ignore=task.ignore or len(classes) > FEWEST, declared=True)
    predicted, known = _by_stem(masks), _by_stem(folder)
    refuse_seen(masks)
    made = prediction_of(masks)
    tau = None if refine or not made.chain else made.needs_probabilities()
    slices = _slices(split, task, known)
    common = sorted(predicted.keys() & known.keys())
    if not common:
        raise UserError(f"{masks}: no mask there has the stem of a truth in {truth}")
    problems = [BadFile(known[stem], f"has no mask {stem}.* in {masks}") for stem in sorted(known.keys() - predicted)]
    problems += [
        BadFile(predicted[stem], f"has no truth {stem}.* in {truth}") for stem in sorted(predicted.keys() - known)
    ]
    found: list[Scored] = []
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda stem: _score(stem, predicted[stem], known[stem], task, tau), common)
        for done, result in enumerate(results, 1):
            (problems if isinstance(result, BadFile) else found).append(result)  # type: ignore[arg-type]
            progress(done, len(common))
    if not found:
        raise UserError(f"{problems[0]}; no image could be scored")
    worst_first = sorted(found, key=lambda each: (_rank(each), each.stem))
    chain = made.chain if tau is None else ()
    notes = [] if classes else list(_disagreement(made, task))
    if slices is None:
        return Evaluated(tuple(worst_first), tuple(problems), task, None, chain, tuple(notes))
    volumes = tuple(_volume(slices, each.stem) for each in worst_first)
    notes += _incomplete(slices, [each.stem for each in worst_first], split / task.volumes)
    return Evaluated(tuple(worst_first), tuple(problems), task, volumes, chain, tuple(notes))


def _disagreement(made: Prediction, task: Task) -> Iterator[str]:
    """Masks hold numbers of classes, which another data set may give to others."""
    if made.classes and made.classes != task.classes and not task.binary:
        yield (
            f"the masks were predicted as {', '.join(made.classes)}, but the classes of the truth are "
            f"{', '.join(task.classes)}; classes of the same number are compared"
        )


def _score(stem: str, mask: Path, truth: Path, task: Task, tau: float | None) -> Scored | BadFile:
    """With ``tau``, the mask is made of the probabilities beside it."""
    try:
        theirs = read_mask(truth, task)
        ours = read_mask(mask, task) if tau is None else mask_before(mask, len(task.classes), tau)
    except BadFile as problem:
        return problem
    if ours.shape != theirs.shape:
        found, expected = (f"{shape[1]}x{shape[0]}" for shape in (ours.shape, theirs.shape))
        return BadFile(mask, f"is {found}, its truth is {expected}")
    classes = len(task.classes)
    if ours.max(initial=0) >= classes:
        return BadFile(mask, "contains 255; a predicted mask has a class for every pixel")
    ours[theirs >= classes] = 0  # of ignored pixels, outlines are not compared either
    boundary = []
    for label in range(1, classes):
        mine, right = (ours == label).astype(np.uint8), (theirs == label).astype(np.uint8)
        shown = task.binary or mine.any() or right.any()
        boundary.append(boundary_f1(mine, right) if shown else float("nan"))
    return Scored(stem, count(ours, theirs, classes), tuple(boundary), task)


def _rank(image: Scored) -> float:
    """What the worst images are sorted by: for several classes the mean Dice of those that are shown."""
    row = image.row()
    value = row["miou"] if image.task.binary else row["dice"]
    return 1.0 if value is None else float(value)


def _truth_folder(path: Path) -> tuple[Path, Path]:
    """A folder of masks, and the split that it belongs to, if it does."""
    if (path / IMAGES).is_dir() and not (path / TRUTH).is_dir():
        raise UserError(f"{path}: has no {TRUTH}/ folder, so masks cannot be scored")
    return (path / TRUTH, path) if (path / TRUTH).is_dir() else (path, path.absolute().parent)


def _task_of(split: Path) -> Task:
    folder = split.absolute().parent
    return read_task(folder) if (folder / FILE).exists() else TWO_CLASSES


def _slices(split: Path, task: Task, truth: Iterable[str]) -> dict[str, Slice] | None:
    """The listed slices of volumes by stem, if the data set is one of volumes; the truth may be in any folder."""
    path = split / task.volumes
    if not task.declared or not path.exists():
        return None
    folders = [split / name for name in (IMAGES, TRUTH) if (split / name).is_dir()]
    return read_volumes(path, sorted({*truth, *(file.stem for folder in folders for file in listed(folder))}))


def _volume(slices: Mapping[str, Slice], stem: str) -> str:
    """The volume of an image; one that is not listed is a volume of its own."""
    return slices[stem].volume if stem in slices else stem


def _incomplete(slices: Mapping[str, Slice], scored: Sequence[str], file: Path) -> Iterator[str]:
    """How the volumes that are scored differ from whole ones."""
    volumes = {slices[stem].volume for stem in scored if stem in slices}
    missing = sorted(stem for stem in slices.keys() - set(scored) if slices[stem].volume in volumes)
    if missing:
        number = len({slices[stem].volume for stem in missing})
        are, their = ("is", "its") if number == 1 else ("are", "their")
        yield f"{plural(number, 'volume')} {are} scored without {len(missing)} of {their} slices ({_few(missing)})"
    if unlisted := sorted(set(scored) - slices.keys()):
        images = f"{plural(len(unlisted), 'image')} ({_few(unlisted)})"
        yield f"{file}: does not list {images}; each is scored as a volume of its own"


def _few(stems: Sequence[str]) -> str:
    return ", ".join(stems[:3]) + (", ..." if len(stems) > 3 else "")


def _by_stem(folder: Path) -> dict[str, Path]:
    found = {path.stem: path for path in listed(folder)}
    if not found:
        raise UserError(f"{folder}: contains no mask ({', '.join(SUFFIXES)})")
    return found
