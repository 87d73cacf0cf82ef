"""The results of a finished fold: counts of every held-out image, scores at both sizes, the best weights."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from trainable.objectives.metrics import COLUMNS, Counts, scores
from trainable.storage.atomic_files import write_atomically, write_json
from trainable.training import checkpoint
from trainable.training.evaluate import evaluate, original_counts, original_probabilities
from trainable.training.trial import FoldTrial

IMAGES_FILE, SCORES_FILE, PROBABILITIES = "images.parquet", "scores.json", "probabilities"


def write_results(trial: FoldTrial, folder: Path, keep_probabilities: bool) -> None:
    """Evaluate the best and the last weights and write ``images.parquet``, ``scores.json`` and ``best.pt``.

    Scores during training are at working size; final scores are at the images' original size. Both are kept.
    """
    best = checkpoint.empty_network(trial.config).to(trial.device)
    best.load_state_dict(trial.best.weights)
    steps = {"best": trial.best.step, "last": trial.step}
    counts = {"best": _both_sizes(trial, best, folder / PROBABILITIES if keep_probabilities else None)}
    same = trial.best.step == trial.step
    counts["last"] = counts["best"] if same else _both_sizes(trial, trial.ema.network, None)
    tables = [
        _table(trial, rows).assign(weights=weights, size=size, step=steps[weights])
        for weights, sizes in counts.items()
        for size, rows in sizes.items()
    ]
    buffer = io.BytesIO()
    pd.concat(tables, ignore_index=True).to_parquet(buffer)
    write_atomically(folder / IMAGES_FILE, lambda file: file.write(buffer.getvalue()))
    summary: dict[str, Any] = {
        weights: {"step": steps[weights], **{size: scores(rows) for size, rows in sizes.items()}}
        for weights, sizes in counts.items()
    }
    write_json(folder / SCORES_FILE, summary)
    trial.save_best(folder)


def _both_sizes(trial: FoldTrial, network: nn.Module, probabilities: Path | None) -> dict[str, Counts]:
    config = trial.config
    working = evaluate(network, trial.data, trial.held_out, config, trial.device, trial.autocast)
    rows: list[Counts] = []
    for index, probability, truth in original_probabilities(
        network, trial.data, trial.held_out, config.batch_size, trial.device, trial.autocast
    ):
        rows.append(original_counts(probability, truth, config.tau))
        if probabilities is not None:
            half = probability.astype(np.float16)
            path = probabilities / f"{trial.data.stems[index]}.npy"
            write_atomically(path, lambda file, half=half: np.save(file, half))  # type: ignore[misc]
    return {"working": working.counts, "original": np.stack(rows)}


def _table(trial: FoldTrial, rows: Counts) -> pd.DataFrame:
    stems = [trial.data.stems[index] for index in trial.held_out]
    return pd.DataFrame(rows, columns=list(COLUMNS)).assign(stem=stems, fold=trial.fold)
