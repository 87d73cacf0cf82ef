"""The results of a fold's images as they come: a line per image, from which every score follows.

A line holds the stem, the seconds, the confusion matrix and the mask as a PNG, so that a fold resumes from one file,
wherever it was interrupted.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from trainable.data.dataset import Pixels
from trainable.data.image_files import ImageFiles
from trainable.errors import UserError
from trainable.images.method import Probabilities
from trainable.objectives.metrics import Counts, Scores, count, scores, to_columns
from trainable.storage.atomic_files import write_atomically, write_text
from trainable.storage.checked_json import append_record, read_lines, text_of, write_checked
from trainable.storage.checked_tables import write_table
from trainable.training.evaluate import Probability, classified
from trainable.training.fold_log import note

FILE, IMAGES_FILE, SCORES_FILE, PROBABILITIES = "results.jsonl", "images.parquet", "scores.json", "probabilities"
TAU = 0.5  # of two classes


@dataclass(frozen=True)
class Result:
    """One segmented image; ``seconds`` is its share of the time of its batch."""

    stem: str
    seconds: float
    counts: Counts
    png: bytes  # of the mask

    @property
    def mask(self) -> Pixels:
        with Image.open(io.BytesIO(self.png)) as picture:
            return np.asarray(picture)

    def record(self) -> dict[str, Any]:
        mask = base64.b64encode(self.png).decode()
        return {"stem": self.stem, "seconds": self.seconds, "counts": self.counts.tolist(), "mask": mask}


def read_record(fields: Mapping[str, Any]) -> Result:
    counts = np.array(fields["counts"], np.int64)
    return Result(fields["stem"], float(fields["seconds"]), counts, base64.b64decode(fields["mask"]))


def read_results(folder: Path, order: Sequence[str]) -> list[Result]:
    """The results of the first images of this order; a last line that a crash truncated is removed.

    Those from the first damaged line on are removed as well, so that their images are segmented again.
    """
    path = folder / FILE
    damage: list[str] = []
    try:
        found = [read_record(fields) for fields in read_lines(path, damage.append)]
    except (ValueError, KeyError, TypeError, OSError):
        raise UserError(f"{path}: is damaged; remove it, and its images are segmented again") from None
    if damage:
        note(folder, f"{damage[0]}; its image and those after it are segmented again")
        found = [each for each, _ in takewhile(lambda pair: pair[0].stem == pair[1], zip(found, order, strict=False))]
    if [result.stem for result in found] != list(order[: len(found)]):
        raise UserError(f"{path}: holds other images than this fold. Choose another folder")
    if path.exists() and (damage or not path.read_bytes().endswith(b"\n")):
        write_text(path, text_of(result.record() for result in found))
    return found


def stored_masks(folder: Path, stems: Iterable[str]) -> dict[str, Pixels]:
    """The masks of these images in the folder of their fold."""
    wanted = set(stems)
    found = map(read_record, read_lines(folder / FILE))
    masks = {result.stem: result.mask for result in found if result.stem in wanted}
    if missing := sorted(wanted - masks.keys()):
        raise UserError(f"{folder / FILE}: has no mask of {', '.join(missing[:3])}")
    return masks


def foreground(probabilities: Probabilities) -> Probability:
    """The form in which networks' probabilities are kept: (H, W) of two classes, else (K, H, W)."""
    return probabilities[1] if len(probabilities) == 2 else probabilities


def keep(
    folder: Path, stem: str, probabilities: Probabilities, truth: Pixels, seconds: float, with_map: bool
) -> Result:
    """Score an image and store its result, with its probability map if that is asked for."""
    found = foreground(probabilities)
    mask = classified(found, TAU)
    if with_map:
        half = found.astype(np.float16)
        write_atomically(folder / PROBABILITIES / f"{stem}.npy", lambda file: np.save(file, half))
    png = io.BytesIO()
    Image.fromarray(mask).save(png, format="PNG")
    result = Result(stem, seconds, count(mask, truth, len(probabilities)), png.getvalue())
    append_record(folder / FILE, result.record())
    return result


def scores_of(results: Sequence[Result], files: ImageFiles) -> Scores:
    volumes = None if files.volumes is None else [files.volumes[result.stem] for result in results]
    return scores(np.stack([result.counts for result in results]), files.task, volumes)


def write_tables(folder: Path, results: Sequence[Result], files: ImageFiles, fold: int, step: int) -> None:
    """``images.parquet`` and ``scores.json`` as of a fold of a network, for which analyses read both.

    A method has no weights to choose from and is always scored at the original size, so all sections are the same.
    """
    table = pd.DataFrame(to_columns(np.stack([result.counts for result in results])))
    table = table.assign(stem=[result.stem for result in results])
    if files.volumes is not None:
        table = table.assign(volume=[files.volumes[result.stem] for result in results])
    sections = [(weights, size) for weights in ("best", "last") for size in ("working", "original")]
    tables = [table.assign(fold=fold, weights=weights, size=size, step=step) for weights, size in sections]
    write_table(pd.concat(tables, ignore_index=True), folder / IMAGES_FILE)
    found = scores_of(results, files)
    section = {"step": step, "working": found, "original": found}
    write_checked(folder / SCORES_FILE, {"best": section, "last": section})
