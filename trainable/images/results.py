"""The results of a fold's images as they come: a line per image, from which every score follows.

A line holds the stem, the seconds, the confusion matrix and the mask as a PNG, so that a fold resumes from one file,
wherever it was interrupted.
"""

import base64
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from trainable.data.dataset import Pixels
from trainable.data.image_files import ImageFiles
from trainable.errors import UserError
from trainable.images.method import Probabilities
from trainable.objectives.metrics import Counts, Scores, count, scores, to_columns
from trainable.storage.atomic_files import append_line, write_atomically, write_json, write_text
from trainable.training.evaluate import Probability, classified
from trainable.training.fold_folder import whole_lines

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

    def line(self) -> str:
        mask = base64.b64encode(self.png).decode()
        return json.dumps({"stem": self.stem, "seconds": self.seconds, "counts": self.counts.tolist(), "mask": mask})


def read_line(line: str) -> Result:
    values = json.loads(line)
    counts = np.array(values["counts"], np.int64)
    return Result(values["stem"], float(values["seconds"]), counts, base64.b64decode(values["mask"]))


def read_results(folder: Path, order: Sequence[str]) -> list[Result]:
    """The results of the first images of this order; a last line that a crash truncated is removed."""
    path = folder / FILE
    text = path.read_text() if path.exists() else ""
    *whole, torn = text.split("\n")
    if torn:
        write_text(path, "".join(f"{line}\n" for line in whole))
    try:
        found = [read_line(line) for line in whole]
    except (ValueError, KeyError, TypeError, OSError):
        raise UserError(f"{path}: is damaged; remove it, and its images are segmented again") from None
    if [result.stem for result in found] != list(order[: len(found)]):
        raise UserError(f"{path}: holds other images than this fold. Choose another folder")
    return found


def stored_masks(folder: Path, stems: Iterable[str]) -> dict[str, Pixels]:
    """The masks of these images in the folder of their fold."""
    wanted = set(stems)
    found = map(read_line, whole_lines(folder / FILE))
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
    append_line(folder / FILE, result.line())
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
    buffer = io.BytesIO()
    pd.concat(tables, ignore_index=True).to_parquet(buffer)
    write_atomically(folder / IMAGES_FILE, lambda file: file.write(buffer.getvalue()))
    found = scores_of(results, files)
    write_json(folder / SCORES_FILE, {w: {"step": step, "working": found, "original": found} for w in ("best", "last")})
