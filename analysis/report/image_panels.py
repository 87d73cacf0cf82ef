"""Rows of panels: an image, its scribble, the truth, the prediction and the error."""

import base64
import io
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from analysis.report.figure import Markup
from trainable.data import dataset
from trainable.data.class_colours import (
    BACKGROUND_SCRIBBLE,
    COLOURS,
    ERROR_LEGEND,
    FOREGROUND_SCRIBBLE,
    SCRIBBLES_LEGEND,
    WHITE,
    coloured,
    errors,
    names_with_colours,
)
from trainable.data.task import Task
from trainable.printing import digits
from trainable.training.evaluate import classified

WIDTH = 260  # of a picture in pixels
Probability = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Predicted:
    """One image with its scribble, truth, prediction and error."""

    stem: str
    fold: int
    score: float
    task: Task
    image: dataset.Pixels
    scribble: dataset.Pixels
    truth: dataset.Pixels
    probability: Probability
    tau: float


def strips(title: str, images: list[Predicted], note: str) -> Markup:
    rows = "".join(_strip(each) for each in images)
    task = images[0].task
    caption = f"n = {len(images)} {note}. "
    if not task.binary:
        caption += (
            "Background scribbles are white. Error: wrong pixels in the colour of the predicted class, white where a "
            "structure was missed; right pixels are dark."
        )
    return Markup(
        f'<figure class="wide"><h3>{escape(title)}</h3>{_legend(task)}<div class="images">{rows}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _legend(task: Task) -> str:
    names = [*SCRIBBLES_LEGEND, *ERROR_LEGEND] if task.binary else names_with_colours(task.classes)
    swatches = "".join(
        f'<span><i style="background:rgb({red},{green},{blue})"></i>{escape(name)}</span>'
        for name, (red, green, blue) in names
    )
    return f'<div class="legend">{swatches}</div>'


def panels(one: Predicted) -> dict[str, dataset.Pixels]:
    """The pictures of an image by their names."""
    mask = classified(one.probability, one.tau)
    if one.task.binary:
        labels = {"truth": (one.truth == 1) * np.uint8(255), "prediction": mask * np.uint8(255)}
    else:
        labels = {"truth": _over(one.image, one.truth), "prediction": _over(one.image, mask)}
    return {"image": one.image, "scribble": _scribbled(one), **labels, "error": errors(mask, one.truth, one.task)}


def _strip(one: Predicted) -> str:
    cells = "".join(
        f'<div><img alt="{name}" src="{jpeg_url(panel)}"><span>{name}</span></div>'
        for name, panel in panels(one).items()
    )
    kind = "IoU" if one.task.binary else "mean Dice"
    label_text = f"{escape(one.stem)}, fold {one.fold}, {kind} {digits(one.score)}"
    return f'<div><div class="more">{label_text}</div><div class="strip">{cells}</div></div>'


def _scribbled(one: Predicted) -> dataset.Pixels:
    """The image in grey under its scribble.

    Of more than two classes, scribbles have the colours of their classes, and those of the background are white.
    """
    grey = np.repeat((one.image.mean(axis=2, keepdims=True) * 0.6 + 60).astype(np.uint8), 3, axis=2)
    colours = {dataset.FOREGROUND: FOREGROUND_SCRIBBLE, dataset.BACKGROUND: BACKGROUND_SCRIBBLE}
    if not one.task.binary:
        colours = {label: COLOURS[label] if label else WHITE for label in range(len(one.task.classes))}
    for label, colour in colours.items():
        grey[one.scribble == label] = colour
    return np.asarray(grey, np.uint8)


def _over(image: dataset.Pixels, labels: dataset.Pixels) -> dataset.Pixels:
    """The colours of classes over the image in grey; the background shows the image alone."""
    grey = np.repeat((image.mean(axis=2, keepdims=True) * 0.7).astype(np.uint8), 3, axis=2)
    mixed = (0.3 * grey + 0.7 * coloured(labels)).astype(np.uint8)
    return np.where((labels > 0)[..., None], mixed, grey)


def jpeg_url(pixels: Any, width: int = WIDTH) -> str:
    """A picture inside a page, at most so wide."""
    picture = Image.fromarray(pixels)
    if picture.width > width:
        size = (width, max(1, round(picture.height * width / picture.width)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
