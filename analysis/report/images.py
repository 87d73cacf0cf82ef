"""The best and worst out-of-fold images of the winner, and the calibration of its probabilities.

Each image is predicted again by the model of the fold that held it out, since runs store no probabilities by default.
The calibration therefore uses an even sample of the images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.answer.score_basis import scored_on_scribbles
from analysis.answer.selection import Selection
from analysis.ensembles.assemble import LEFT
from analysis.report.figure import LINE, MUTED, SET, Figure, Section, axis, sentence
from analysis.report.image_panels import Predicted, Probability, strips
from search.runs.run_tables import RunTables
from trainable.augmentation.preview import three_channels
from trainable.data import dataset
from trainable.data.dataset import Split
from trainable.data.image_files import ImageFiles
from trainable.errors import UserError
from trainable.objectives.metrics import class_dices, class_ious, mean_over_classes
from trainable.printing import digits, plural
from trainable.storage.cached_copies import data_folder
from trainable.training.checkpoint import BEST
from trainable.training.evaluate import true_labels

SHOWN = 4  # best images, and as many of the worst
SAMPLE = 24  # images behind the calibration
BINS = 10
TRAIN = "train"


def pictures(tables: RunTables, selection: Selection) -> Section:
    why = _why_not(tables, selection)
    if isinstance(why, str):
        return Section("images", "Images", [sentence(f"Images and calibration are not shown: {why}.")])
    assert selection.winner is not None
    config = selection.winner.config
    masks_alone = LEFT[tables.space.settings.trainable] != BEST
    counts = tables.images([config], "best", "original")
    counts = counts[counts["stem"].isin(why.scribbles if tables.facts.get("scored_on") else why.truth)]
    if counts.empty:
        return Section(
            "images", "Images", [sentence("Images are not shown: the winner's per-image counts are missing.")]
        )
    counts = counts.assign(score=scores_of_images(tables, counts)).dropna(subset="score")
    counts = counts.sort_values("score", ignore_index=True)
    half = min(SHOWN, len(counts) // 2) or 1
    extremes = pd.concat([counts.head(half), counts.tail(half)]).drop_duplicates("stem")
    sample = counts.iloc[np.unique(np.linspace(0, len(counts) - 1, min(SAMPLE, len(counts))).round().astype(int))]
    wanted = pd.concat([extremes, sample]).drop_duplicates("stem")
    try:
        predict = _stored if masks_alone else _predict
        seen = predict(tables, config, why, extremes if masks_alone else wanted)
    except UserError as error:
        return Section("images", "Images", [sentence(f"Images and calibration are not shown: {error}.")])
    worst = [seen[stem] for stem in counts["stem"].head(half)]
    best = [seen[stem] for stem in counts["stem"].iloc[::-1].head(half)]
    name, pooled = _pooled(tables, counts)
    basis = ", of scribbled pixels only" if scored_on_scribbles(tables) else ""
    note = f"of {len(counts)} out-of-fold images; {name} at original size{basis}, pooled {digits(pooled)}"
    return Section(
        "images",
        "Images of the winner" if masks_alone else "Images that the winner was not trained on",
        [
            strips(f"Worst: from {digits(worst[0].score)}", worst, note),
            strips(f"Best: up to {digits(best[0].score)}", best, note),
            *([] if masks_alone else [_calibration([seen[stem] for stem in sample["stem"]], bool(basis))]),
        ],
    )


def none_yet(why: str) -> Section:
    return Section("images", "Images", [sentence(why)])


def _why_not(tables: RunTables, selection: Selection) -> Split | str:
    """The labelled images, or the reason why they cannot be shown."""
    if selection.winner is None:
        return "there is no winner yet"
    kind = tables.space.settings.trainable
    if kind not in LEFT:
        return f"fold trials that are {kind} save no models"
    config = selection.winner.config
    tables.run.fetch(f"configs/{config}/*/{LEFT[kind]}")
    missing = [fold for fold in range(tables.folds) if not (tables.folder(config, fold) / LEFT[kind]).exists()]
    if missing:
        return f"the winner's models of fold {', '.join(map(str, missing))} are not in the run's folder"
    return labelled(tables)


def labelled(tables: RunTables) -> Split | str:
    """The labelled images that the run was trained on, or the reason why they cannot be shown."""
    try:
        split = dataset.open_split(data_folder(str(tables.space.settings.data)), TRAIN)
        same = split.hash == tables.run.environment().get("data_hash")
    except (UserError, OSError, ValueError) as error:
        return str(error).splitlines()[0].rstrip(".")
    return split if same else f"{split.root} has changed since the run was trained"


def score_name(tables: RunTables) -> str:
    """What ``scores_of_images`` is."""
    return "IoU" if tables.task.binary else "mean Dice of the classes shown"


def scores_of_images(tables: RunTables, counts: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Per image the IoU of the foreground, or of several classes the mean Dice of those that are shown."""
    matrices = tables.counts(counts)
    if tables.task.binary:
        ious = class_ious(matrices)[:, 1]
        return np.asarray(np.where(np.isnan(ious), 1.0, ious))
    dices = class_dices(matrices)[:, 1:]
    shown = np.isfinite(dices).any(axis=1)
    return np.asarray(np.where(shown, mean_over_classes(dices, tables.task), np.nan))


def _pooled(tables: RunTables, counts: pd.DataFrame) -> tuple[str, float]:
    key = f"iou_{tables.task.classes[1]}" if tables.task.binary else "dice"
    return score_name(tables), tables.scores(counts)[key]


def _stored(tables: RunTables, config: str, split: Split, wanted: pd.DataFrame) -> dict[str, Predicted]:
    """The masks that methods left, with probabilities of 0 and 1."""
    from trainable.images.regions import one_hot
    from trainable.images.results import TAU, foreground, stored_masks

    seen, classes = {}, len(split.task.classes)
    files = ImageFiles(split)
    for fold, rows in wanted.groupby("fold"):
        masks = stored_masks(tables.folder(config, int(str(fold))), rows["stem"].tolist())
        for row in rows.itertuples():
            stem = str(row.stem)
            image, scribble = files.read(stem)
            probability = foreground(one_hot(masks[stem], classes))
            facts = (stem, int(str(fold)), float(str(row.score)), split.task, image, scribble)
            seen[stem] = Predicted(*facts, files.mask(stem, image), probability, TAU)
    return seen


def _predict(tables: RunTables, config: str, split: Split, wanted: pd.DataFrame) -> dict[str, Predicted]:
    from analysis.ensembles.ensemble import Ensemble, read_member, same_threshold
    from analysis.ensembles.inputs import Input

    seen = {}
    for fold, rows in wanted.groupby("fold"):
        member = read_member(config, int(str(fold)), tables.folder(config, int(str(fold))))
        model = Ensemble([member], same_threshold([member]), "none")
        for row in rows.itertuples():
            stem = str(row.stem)
            pixels = Input(split.images[stem], split.scribbles.get(stem)).read(split.task, model.channels)
            truth = true_labels(split, stem, on_scribbles=bool(tables.facts.get("scored_on")))
            image = three_channels(pixels[..., :-1])
            probability = model.probabilities(pixels[None])[0]
            seen[stem] = Predicted(
                stem,
                member.fold,
                float(str(row.score)),
                split.task,
                image,
                pixels[..., -1],
                truth,
                probability,
                model.tau,
            )
    return seen


def _claims(one: Predicted) -> tuple[Probability, npt.NDArray[np.bool_]]:
    """Per pixel the probability of the foreground and whether it is one; of several classes, of the chosen class."""
    known = one.truth < dataset.IGNORED
    if one.task.binary:
        return one.probability[known], one.truth[known] == 1
    return one.probability.max(axis=0)[known], (one.probability.argmax(axis=0) == one.truth)[known]


def _calibration(images: list[Predicted], on_scribbles: bool) -> Figure:
    """Of the pixels that were given a probability, the observed share of foreground, or of right classes."""
    task = images[0].task
    claims = [_claims(each) for each in images]
    predicted, positive = (np.concatenate(parts) for parts in zip(*claims, strict=True))
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
        "hovertemplate": "predicted %{x:.4~g}, observed %{y:.4~g}<br>%{text}<extra></extra>",
        "name": "the winner",
    }
    ideal: dict[str, Any] = {"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "name": "ideal"}
    ideal |= {"line": {"color": MUTED, "width": 1, "dash": "dash"}, "hoverinfo": "skip"}
    subject = ("foreground", "foreground") if task.binary else ("the predicted class", "right pixels")
    layout = {
        "xaxis": axis(f"predicted probability of {subject[0]}", range=[-0.02, 1.02]),
        "yaxis": axis(f"observed share of {subject[1]}", range=[-0.02, 1.04], gridcolor=LINE),
    }
    title = f"Predicted probabilities deviate by {digits(apart)} on average"
    scribbled = "scribbled pixels only" if on_scribbles else "scribbled pixels included"
    caption = (
        f"Expected calibration error over {BINS} bins, single fold models on held-out images, "
        f"{scribbled}. n = {plural(len(images), 'image')} spread evenly from worst to best, {len(predicted):,} pixels."
    )
    return Figure("calibration", title, caption, [ideal, dots], layout, 380, half=True)
