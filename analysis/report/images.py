"""The best and worst out-of-fold images of the winner, and the calibration of its probabilities.

Each image is predicted again by the model of the fold that held it out. Runs do not store probabilities, so the
calibration uses an even sample of the images.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from analysis.answer.selection import Selection
from analysis.report.figure import LINE, MUTED, SET, Figure, Markup, Section, axis, sentence
from search.runs.run_folder import ENVIRONMENT
from search.runs.run_tables import RunTables
from trainable.data import dataset
from trainable.data.dataset import Split
from trainable.errors import UserError
from trainable.printing import plural
from trainable.storage.cached_copies import data_folder
from trainable.training.checkpoint import BEST

if TYPE_CHECKING:
    from analysis.ensembles.ensemble import Ensemble

SHOWN = 4  # best images, and as many of the worst
SAMPLE = 24  # images behind the calibration
BINS = 10
WIDTH = 260  # of a picture in pixels
TRAIN = "train"
AMBER, BLUE, PINK = (247, 160, 75), (75, 150, 230), (200, 60, 150)
Probability = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Predicted:
    """One image with its scribble, truth, prediction and error."""

    stem: str
    fold: int
    iou: float
    image: dataset.Pixels
    scribble: dataset.Pixels
    truth: dataset.Pixels
    probability: Probability
    tau: float


def pictures(tables: RunTables, selection: Selection) -> Section:
    why = _why_not(tables, selection)
    if isinstance(why, str):
        return Section("images", "Images", [sentence(f"Images and calibration are not shown: {why}.")])
    assert selection.winner is not None
    config = selection.winner.config
    counts = tables.images([config], "best", "original")
    counts = counts[counts["stem"].isin(why.truth)]
    if counts.empty:
        return Section(
            "images", "Images", [sentence("Images are not shown: the winner's per-image counts are missing.")]
        )
    union = counts[["tp", "fp", "fn"]].sum(axis=1)
    counts = counts.assign(iou=(counts["tp"] / union).where(union > 0, 1.0)).sort_values("iou", ignore_index=True)
    half = min(SHOWN, len(counts) // 2) or 1
    extremes = pd.concat([counts.head(half), counts.tail(half)]).drop_duplicates("stem")
    sample = counts.iloc[np.unique(np.linspace(0, len(counts) - 1, min(SAMPLE, len(counts))).round().astype(int))]
    wanted = pd.concat([extremes, sample]).drop_duplicates("stem")
    try:
        seen = _predict(tables, config, why, wanted)
    except UserError as error:
        return Section("images", "Images", [sentence(f"Images and calibration are not shown: {error}.")])
    worst = [seen[stem] for stem in counts["stem"].head(half)]
    best = [seen[stem] for stem in counts["stem"].iloc[::-1].head(half)]
    pooled = counts[["tp", "fp", "fn"]].sum()
    note = f"of {len(counts)} out-of-fold images; IoU at original size, pooled {pooled['tp'] / pooled.sum():.4f}"
    return Section(
        "images",
        "Images that the winner was not trained on",
        [
            _strips(f"Worst: from {worst[0].iou:.3f}", worst, note),
            _strips(f"Best: up to {best[0].iou:.3f}", best, note),
            _calibration([seen[stem] for stem in sample["stem"]]),
        ],
    )


def _why_not(tables: RunTables, selection: Selection) -> Split | str:
    """The labelled images, or the reason why they cannot be shown."""
    if selection.winner is None:
        return "there is no winner yet"
    if tables.space.settings.trainable != "fold":
        return f"fold trials that are {tables.space.settings.trainable} save no models"
    config = selection.winner.config
    tables.run.fetch(f"configs/{config}/*/{BEST}")
    missing = [fold for fold in range(tables.folds) if not (tables.folder(config, fold) / BEST).exists()]
    if missing:
        return f"the winner's models of fold {', '.join(map(str, missing))} are not in the run's folder"
    try:
        split = dataset.open_split(data_folder(str(tables.space.settings.data)), TRAIN)
        known = json.loads((tables.run.folder / ENVIRONMENT).read_text()).get("data_hash")
        same = split.hash == known
    except (UserError, OSError, ValueError) as error:
        return str(error).splitlines()[0].rstrip(".")
    return split if same else f"{split.root} has changed since the run was trained"


def _predict(tables: RunTables, config: str, split: Split, wanted: pd.DataFrame) -> dict[str, Predicted]:
    from analysis.ensembles.ensemble import Ensemble, read_member, same_threshold

    seen = {}
    for fold, rows in wanted.groupby("fold"):
        member = read_member(config, int(str(fold)), tables.folder(config, int(str(fold))))
        model = Ensemble([member], same_threshold([member]), "none")
        for row in rows.itertuples():
            stem = str(row.stem)
            image, marks = dataset.read_image(split.images[stem]), dataset.read_scribble(split.scribbles[stem])
            probability = _probability(model, np.dstack([image, marks]))
            truth = dataset.read_mask(split.truth[stem])
            seen[stem] = Predicted(stem, member.fold, float(str(row.iou)), image, marks, truth, probability, model.tau)
    return seen


def _probability(model: Ensemble, pixels: dataset.Pixels) -> Probability:
    import torch

    with torch.inference_mode():
        return np.asarray(model(torch.from_numpy(pixels[None]))[0].numpy(), np.float32)


def _strips(title: str, images: list[Predicted], note: str) -> Markup:
    rows = "".join(_strip(each) for each in images)
    caption = f"n = {len(images)} {note}. Error: false positives orange, false negatives blue, true positives white."
    return Markup(
        f'<figure class="wide"><h3>{escape(title)}</h3><div class="images">{rows}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _strip(one: Predicted) -> str:
    mask, truth = one.probability > one.tau, one.truth > 0
    panels = {
        "image": one.image,
        "scribble": _scribbled(one),
        "truth": truth.astype(np.uint8) * 255,
        "prediction": mask.astype(np.uint8) * 255,
        "error": _error(mask, truth),
    }
    cells = "".join(
        f'<div><img alt="{name}" src="{_encode(panel)}"><span>{name}</span></div>' for name, panel in panels.items()
    )
    label_text = f"{escape(one.stem)}, fold {one.fold}, IoU {one.iou:.3f}"
    return f'<div><div class="more">{label_text}</div><div class="strip">{cells}</div></div>'


def _scribbled(one: Predicted) -> dataset.Pixels:
    """The image in grey under its scribble, foreground orange and background blue."""
    grey = np.repeat((one.image.mean(axis=2, keepdims=True) * 0.6 + 60).astype(np.uint8), 3, axis=2)
    grey[one.scribble == dataset.FOREGROUND] = AMBER
    grey[one.scribble == dataset.BACKGROUND] = BLUE
    return np.asarray(grey, np.uint8)


def _error(mask: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> dataset.Pixels:
    error = np.zeros((*mask.shape, 3), np.uint8)
    error[mask & truth] = 255
    error[mask & ~truth] = AMBER
    error[~mask & truth] = BLUE
    return error


def _encode(panel: Any) -> str:
    picture = Image.fromarray(panel)
    if picture.width > WIDTH:
        size = (WIDTH, max(1, round(picture.height * WIDTH / picture.width)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _calibration(images: list[Predicted]) -> Figure:
    """Of the pixels that were given a probability, the observed share of foreground."""
    predicted = np.concatenate([each.probability.ravel() for each in images])
    positive = np.concatenate([(each.truth > 0).ravel() for each in images])
    place = np.clip((predicted * BINS).astype(int), 0, BINS - 1)
    pixels = np.bincount(place, minlength=BINS)
    filled = pixels > 0
    claimed = np.bincount(place, predicted, BINS)[filled] / pixels[filled]
    true = np.bincount(place, positive, BINS)[filled] / pixels[filled]
    apart = float((np.abs(claimed - true) * pixels[filled]).sum() / pixels.sum())
    dots = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": claimed,
        "y": true,
        "marker": {"color": SET, "size": 9},
        "line": {"color": SET, "width": 2},
        "text": [f"{number:,} pixels" for number in pixels[filled]],
        "hovertemplate": "predicted %{x:.3f}, observed %{y:.3f}<br>%{text}<extra></extra>",
        "name": "the winner",
    }
    ideal: dict[str, Any] = {"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "name": "ideal"}
    ideal |= {"line": {"color": MUTED, "width": 1, "dash": "dash"}, "hoverinfo": "skip"}
    layout = {
        "xaxis": axis("predicted probability of foreground", range=[-0.02, 1.02]),
        "yaxis": axis("observed share of foreground", range=[-0.02, 1.04], gridcolor=LINE),
    }
    title = f"Predicted probabilities deviate by {apart:.3f} on average"
    caption = (
        f"Expected calibration error over {BINS} bins, single fold models on held-out images, scribbled pixels "
        f"included. n = {plural(len(images), 'image')} spread evenly from worst to best, {len(predicted):,} pixels."
    )
    return Figure("calibration", title, caption, [ideal, dots], layout, 380, half=True)
