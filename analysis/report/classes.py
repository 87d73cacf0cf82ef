"""Several classes: the scores of each, what the winner confuses, and the volumes it does well and badly."""

from typing import Any

import numpy as np

from analysis.answer.document import summary_rows
from analysis.answer.score_basis import scored_on_scribbles, validation_scores
from analysis.answer.selection import Selection
from analysis.answer.summary_text import SHOWN
from analysis.report.figure import LINE, MUTED, SET, Figure, Markup, Section, axis, sentence, table
from search.runs.run_tables import RunTables
from trainable.data.class_colours import COLOURS
from trainable.objectives.metrics import mean_over_classes, volume_dices
from trainable.printing import digits, plural

BESIDE = 6  # classes up to which two figures have room beside each other


def classes(tables: RunTables, selection: Selection) -> Section | None:
    """None for two classes without volumes or a validation split: then there is nothing to add."""
    volumes = bool(tables.facts.get("volumes"))
    if tables.task.binary and not volumes and tables.space.settings.validation is None:
        return None
    best = [row["config"] for row in summary_rows(tables, selection)[:SHOWN]]
    images = tables.images(best, "best", "original") if best else tables.images([])
    if images.empty:
        return Section("classes", "Classes", [sentence("Scores per class appear when a fold trial has finished.")])
    blocks: list[Figure | Markup] = [_table(tables, best, images, volumes)]
    winner = selection.winner
    if winner is not None and not images[images["config"] == winner.config].empty:
        own = images[images["config"] == winner.config]
        if not tables.task.binary:
            blocks.append(_confusion(tables, own))
        if volumes:
            blocks.append(_by_volume(tables, own))
    return Section("classes", "Volumes" if tables.task.binary else "Classes", blocks)


def _table(tables: RunTables, best: list[str], images: Any, volumes: bool) -> Markup:
    """The best configs with a column per class."""
    metric = "dice_volume" if volumes else "dice"
    split = tables.space.settings.validation
    validation = {config: found for config in best if (found := validation_scores(tables, config))}
    # The validation split need not be one of volumes.
    common = metric if all(metric in each for found in validation.values() for each in found) else "dice"
    rows = []
    for config in best:
        own = images[images["config"] == config]
        if own.empty:
            continue
        values = tables.scores(own)
        row: dict[str, Any] = {"config": config, "folds": int(own["fold"].nunique()), "mean": values[metric]}
        if not tables.task.binary:
            row |= {name: values[f"{metric}_{name}"] for name in tables.task.foreground}
        if validation:
            scores = [each[common] for each in validation.get(config, [])]
            row[f"{common} on {split}"] = float(np.mean(scores)) if scores else None
        rows.append(row)
    what = "of whole volumes, averaged over volumes" if volumes else "of the pixels of all images"
    empty = "counts 1" if tables.task.binary else "is left out"
    note = (
        f"Dice {what}, on held-out images at original size by the best weights. A class that neither truth nor "
        f"prediction shows{' in a volume' if volumes else ''} {empty}."
    )
    if basis := scored_on_scribbles(tables):
        note += f" {basis}"
    if validation:
        note += f" On {split}: the mean of the fold models on that split, which nothing was trained on or selected by."
    return table(rows, note)


def _confusion(tables: RunTables, own: Any) -> Figure:
    """Of the pixels of each true class, the shares that are predicted as each class."""
    pooled = tables.counts(own).sum(axis=0)
    shares = pooled / np.maximum(pooled.sum(axis=1, keepdims=True), 1)
    names = list(tables.task.classes)
    off = [(shares[i, j], i, j) for i in range(1, len(names)) for j in range(len(names)) if i != j]
    share, i, j = max(off)
    trace = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": shares,
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "$low"], [1, "$set"]],
        "text": [[f"{value:.1%}" for value in row] for row in shares.tolist()],
        "texttemplate": "%{text}",
        "hovertemplate": "%{y} predicted as %{x}: %{text}<extra></extra>",
        "showscale": False,
    }
    layout = {
        "xaxis": axis("predicted class", type="category"),
        "yaxis": axis("true class", type="category", autorange="reversed"),
    }
    caption = (
        f"Of the pixels of each true class (row), the share predicted as each class, at original size, by the winner's "
        f"fold models. n = {plural(len(own), 'held-out image')}, {pooled.sum():,} "
        f"{'scribbled ' if scored_on_scribbles(tables) else ''}pixels."
    )
    title = f"{share:.1%} of {names[i]} is taken for {names[j]}"
    return Figure("confusion", title, caption, [trace], layout, 320 + 14 * len(names), half=len(names) <= BESIDE)


def _by_volume(tables: RunTables, own: Any) -> Figure:
    """A point per volume and class; points of one class are spread so that equal ones can be seen."""
    volumes = own["volume"].tolist()
    names = sorted(set(volumes))
    dices = volume_dices(tables.counts(own), volumes, tables.task)
    fold_of = dict(zip(volumes, own["fold"].tolist(), strict=True))
    spread = np.random.default_rng(0).uniform(-0.28, 0.28, len(names))
    traces: list[dict[str, Any]] = []
    for k, name in enumerate(tables.task.foreground):
        known = np.isfinite(dices[:, k])
        red, green, blue = COLOURS[k + 1]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": k + spread[known],
                "y": dices[known, k],
                "marker": {"color": SET if tables.task.binary else f"rgb({red},{green},{blue})", "size": 7},
                "text": [f"{names[row]}, fold {fold_of[names[row]]}" for row in np.flatnonzero(known)],
                "hovertemplate": "%{text}<br>Dice %{y:.4g}<extra></extra>",
            }
        )
        median = float(np.median(dices[known, k])) if known.any() else None
        line = {"color": MUTED, "width": 2}
        traces.append(
            {"type": "scatter", "mode": "lines", "x": [k - 0.36, k + 0.36], "y": [median] * 2, "line": line}
            | {"hoverinfo": "skip", "showlegend": False}
        )
    means = mean_over_classes(dices, tables.task)
    worst = int(means.argmin())
    basis = ", scribbled pixels only" if scored_on_scribbles(tables) else ""
    ticks = {"tickvals": list(range(dices.shape[1])), "ticktext": list(tables.task.foreground)}
    layout = {
        "xaxis": axis("class", range=[-0.6, dices.shape[1] - 0.4], **ticks),
        "yaxis": axis("Dice of the volume", range=[-0.02, 1.02], gridcolor=LINE),
        "showlegend": False,
    }
    caption = (
        f"Dice of each held-out volume and class by the winner's fold models, at original size; lines are medians. "
        f"n = {plural(len(names), 'volume')}{basis}."
    )
    title = f"{names[worst]} is the worst volume, with a mean Dice of {digits(means[worst])}"
    return Figure(
        "volumes",
        title,
        caption,
        traces,
        layout,
        360,
        half=not tables.task.binary and len(tables.task.classes) <= BESIDE,
    )
