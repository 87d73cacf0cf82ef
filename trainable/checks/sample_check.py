"""Checking one sample of a data set: problems of its files, and the sums for the statistics."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from trainable.checks import duplicates
from trainable.checks.diagnosis import Problem, Size, by
from trainable.data import dataset
from trainable.data.dataset import BACKGROUND, IGNORED, UNLABELLED, BadFile, Pixels, Split
from trainable.data.reading import is_deep, read_image, read_mask, read_scribble
from trainable.printing import Progress, plural

# Scribbles cover a few percent of the pixels; a file that labels most of them uses 0 for "unlabelled".
DENSE = 0.5
ORIENTATION = 0x0112

Counts = npt.NDArray[np.int64]  # pixels of each class, then those of none


@dataclass
class Sample:
    """What is kept of a sample after its files are closed: sums and a thumbnail, no pixels."""

    split: Split
    stem: str
    problems: list[Problem] = field(default_factory=list)
    size: Size | None = None
    pixels: int = 0  # of the image, if it can be read
    colour: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 3)))
    grey: bool = True
    mask: Counts | None = None
    scribble: Counts | None = None
    digest: str | None = None
    thumbnail: Pixels | None = None


def look_at_all(splits: Sequence[Split], progress: Progress | None) -> list[Sample]:
    """In threads, since decoding releases the GIL; results keep the order of the splits."""
    work = [(one, stem) for one in splits for stem in sorted({*one.images, *one.scribbles, *one.truth})]
    samples: list[Sample] = []
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for sample in pool.map(lambda item: _look(*item), work):
            samples.append(sample)
            if progress:
                progress(len(samples), len(work))
    finally:
        pool.shutdown(cancel_futures=True)
    return samples


def _look(split: Split, stem: str) -> Sample:
    sample = Sample(split, stem)
    task = split.task
    image, image_size = _read(split.images.get(stem), read_image, sample)
    scribble, scribble_size = _read(split.scribbles.get(stem), partial(read_scribble, task=task), sample)
    mask, mask_size = _read(split.truth.get(stem), partial(read_mask, task=task), sample)
    sample.size = image_size
    known = image_size or scribble_size
    for folder, size in ((split.scribbles, scribble_size), (split.truth, mask_size)):
        if known and size and size != known:
            partner = "image" if image_size else "scribble"
            turned = ": rotated by 90 degrees" if size == known[::-1] else ""
            text = f"is {by(size)}, but its {partner} {by(known)}{turned}"
            sample.problems.append(Problem(folder[stem], "size", text))
    if image is not None:
        _measure_image(image, split.images[stem], sample)
    if scribble is not None:
        _measure_scribble(scribble, split.scribbles[stem], sample)
    if mask is not None:
        _measure_mask(mask, split.truth[stem], sample)
    if scribble is not None and mask is not None and scribble.shape == mask.shape:
        wrong = int(np.count_nonzero((scribble != mask) & (scribble != UNLABELLED) & (mask != IGNORED)))
        if wrong:
            other = "the other" if task.binary else "another"
            text = f"{plural(wrong, 'scribbled pixel lies', 'scribbled pixels lie')} on {other} class of the truth"
            sample.problems.append(Problem(split.scribbles[stem], "contradiction", text))
    return sample


def _read(path: Path | None, reader: Callable[[Path], Pixels], sample: Sample) -> tuple[Pixels | None, Size | None]:
    """The pixels if they can be used, and the size even if the labels are wrong."""
    if path is None:
        return None, None
    pixels = None
    try:
        pixels = reader(path)
    except dataset.Unreadable as error:
        sample.problems.append(Problem(path, "unreadable", error.problem))
        return None, None
    except BadFile as error:
        sample.problems.append(Problem(path, "labels", error.problem))
    with Image.open(path) as header:
        return pixels, header.size


def _measure_image(image: Pixels, path: Path, sample: Sample) -> None:
    sample.pixels = pixels = image.shape[0] * image.shape[1]
    mean, std = (value[:, 0] for value in cv2.meanStdDev(image))
    sample.colour[:] = mean * pixels, (mean**2 + std**2) * pixels
    sample.grey = bool((image == image[..., :1]).all())
    sample.digest, sample.thumbnail = duplicates.digest(image), duplicates.thumbnail(image)
    sample.problems += [Problem(path, "colours", text) for text in _lost(path)]


def _lost(path: Path) -> Iterator[str]:
    """Warnings about what is lost when a file is read as 8-bit RGB."""
    with Image.open(path) as header:
        if is_deep(header):
            yield f"has more than 8 bits per pixel (mode {header.mode}); its own range is stretched to 0..255"
        # Decoded a second time, but only the few images with transparency.
        if header.has_transparency_data and header.convert("RGBA").getchannel("A").getextrema()[0] != 255:
            yield "is transparent in places; transparency is ignored"
        orientation = header.getexif().get(ORIENTATION, 1) if header.format == "JPEG" else 1
        if orientation != 1:
            yield f"has an EXIF orientation ({orientation}), which is ignored; it is read as stored"


def _measure_scribble(scribble: Pixels, path: Path, sample: Sample) -> None:
    classes = len(sample.split.task.classes)
    sample.scribble = counts = _counts(scribble, classes, UNLABELLED)
    labelled = int(counts[:classes].sum())
    if not labelled:
        sample.problems.append(Problem(path, "scribble", "has no scribble at all"))
    elif not sample.split.task.declared and not counts[:classes].all():
        absent = "foreground" if counts[BACKGROUND] else "background"
        sample.problems.append(Problem(path, "scribble", f"has no {absent} scribble"))
    if labelled > DENSE * scribble.size:
        share = labelled / scribble.size
        text = f"labels {share:.0%} of its pixels: unlabelled ones must be 255, 0 is a background scribble"
        sample.problems.append(Problem(path, "scribble", text))


def _measure_mask(mask: Pixels, path: Path, sample: Sample) -> None:
    task = sample.split.task
    sample.mask = counts = _counts(mask, len(task.classes), IGNORED)
    shown = np.flatnonzero(counts[:-1]).tolist()
    text = None
    if not shown:
        text = "is ignored everywhere: no pixel has a class"
    elif len(shown) == 1 and shown != [BACKGROUND]:
        text = f"is full: every pixel is {task.classes[shown[0]]}"
    elif shown == [BACKGROUND] and not task.declared:
        text = "is empty: no pixel is foreground"
    if text:
        sample.problems.append(Problem(path, "mask", text))


def _counts(labels: Pixels, classes: int, none: int) -> Counts:
    return np.bincount(labels.reshape(-1), minlength=256)[[*range(classes), none]]


def _total(counts: Sequence[Counts]) -> Counts:
    return np.sum(counts, axis=0) if counts else np.zeros(1, np.int64)


def statistics(samples: Sequence[Sample]) -> dict[str, Any]:
    """Pooled over pixels rather than averaged over images, so that share and ratio of the classes agree."""
    sizes = Counter(sample.size for sample in samples if sample.size)
    pixels = sum(sample.pixels for sample in samples)
    masks = _total([sample.mask for sample in samples if sample.mask is not None])
    scribbles = _total([sample.scribble for sample in samples if sample.scribble is not None])
    mean = std = coverage = None
    if pixels:
        first, second = np.sum([sample.colour for sample in samples], axis=0) / pixels
        mean = tuple((first / 255).tolist())
        std = tuple((np.sqrt(np.maximum(second - first**2, 0)) / 255).tolist())
    if scribbles.any():
        background, foreground = (int(part.sum()) / int(scribbles.sum()) for part in (scribbles[:1], scribbles[1:-1]))
        coverage = {"all": foreground + background, "foreground": foreground, "background": background}
    return {
        "size": sizes.most_common(1)[0][0] if sizes else None,
        "mean": mean,
        "std": std,
        "foreground_share": int(masks[1:-1].sum()) / int(masks[:-1].sum()) if masks[:-1].any() else None,
        "scribble_coverage": coverage,
    }
