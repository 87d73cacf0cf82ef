"""Score masks against the truth: every metric, per image and pooled."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.ensembles.inputs import listed
from trainable.data.dataset import IMAGES, SUFFIXES, TRUTH, BadFile, read_mask
from trainable.errors import UserError
from trainable.objectives.boundary import boundary_f1
from trainable.objectives.metrics import Counts, count, scores
from trainable.printing import Progress

RECORD = "predictions.json"


@dataclass(frozen=True)
class Scored:
    """The scores of one image."""

    stem: str
    counts: Counts
    boundary_f1: float

    def row(self) -> dict[str, Any]:
        return {"image": self.stem, **scores(self.counts[None]), "boundary_f1": self.boundary_f1}


@dataclass(frozen=True)
class Evaluated:
    """All scored images, the worst first, and the problems of the others."""

    images: tuple[Scored, ...]
    problems: tuple[BadFile, ...]

    def pooled(self) -> dict[str, Any]:
        """Pooled metrics; the boundary metric is the mean over images."""
        counts = np.stack([each.counts for each in self.images])
        boundary = float(np.mean([each.boundary_f1 for each in self.images]))
        return {"images": len(self.images), **scores(counts), "boundary_f1": boundary}


def evaluate_masks(masks: Path, truth: Path, progress: Progress) -> Evaluated:
    """Score every mask that has a truth; images without a mask or a truth are listed as problems."""
    predicted, known = _by_stem(masks), _by_stem(_truth_folder(truth))
    refuse_seen(masks)
    common = sorted(predicted.keys() & known.keys())
    if not common:
        raise UserError(f"{masks}: no mask there has the stem of a truth in {truth}")
    problems = [BadFile(known[stem], f"has no mask {stem}.* in {masks}") for stem in sorted(known.keys() - predicted)]
    problems += [
        BadFile(predicted[stem], f"has no truth {stem}.* in {truth}") for stem in sorted(predicted.keys() - known)
    ]
    found: list[Scored] = []
    with ThreadPoolExecutor() as pool:
        for done, result in enumerate(pool.map(lambda stem: _score(stem, predicted[stem], known[stem]), common), 1):
            (problems if isinstance(result, BadFile) else found).append(result)  # type: ignore[arg-type]
            progress(done, len(common))
    if not found:
        raise UserError(f"{problems[0]}; no image could be scored")
    worst_first = sorted(found, key=lambda each: (scores(each.counts[None])["miou"], each.stem))
    return Evaluated(tuple(worst_first), tuple(problems))


def refuse_seen(masks: Path) -> None:
    """Refuse masks that an ensemble predicted for its own training images."""
    path = masks / RECORD
    seen = json.loads(path.read_text())["seen"] if path.exists() else []
    if seen:
        named = ", ".join(seen[:3]) + (", ..." if len(seen) > 3 else "")
        raise UserError(
            f"{masks}: {len(seen)} of these images ({named}) were trained on by members of the ensemble that made the "
            "masks, so their scores would not be representative of new images; its members' scores on images that they "
            f"did not train on are in the ensemble's manifest, and python -m analysis best RUN shows them"
        )


def _score(stem: str, mask: Path, truth: Path) -> Scored | BadFile:
    try:
        ours, theirs = read_mask(mask), read_mask(truth)
    except BadFile as problem:
        return problem
    if ours.shape != theirs.shape:
        found, expected = (f"{shape[1]}x{shape[0]}" for shape in (ours.shape, theirs.shape))
        return BadFile(mask, f"is {found}, its truth is {expected}")
    return Scored(stem, count(ours > 0, theirs > 0), boundary_f1(ours, theirs))


def _truth_folder(path: Path) -> Path:
    """A folder of masks, or a split that has one."""
    if (path / IMAGES).is_dir() and not (path / TRUTH).is_dir():
        raise UserError(f"{path}: has no {TRUTH}/ folder, so masks cannot be scored")
    return path / TRUTH if (path / TRUTH).is_dir() else path


def _by_stem(folder: Path) -> dict[str, Path]:
    found = {path.stem: path for path in listed(folder)}
    if not found:
        raise UserError(f"{folder}: contains no mask ({', '.join(SUFFIXES)})")
    return found
