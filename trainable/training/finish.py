"""The results of a finished fold: counts of every held-out image, scores at both sizes, the best weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor, nn

from trainable.data.decoded_images import Data
from trainable.objectives.metrics import Counts, Scores, scores, to_columns
from trainable.storage.atomic_files import write_atomically
from trainable.storage.checked_json import read_checked, write_checked
from trainable.storage.checked_tables import read_table, write_table
from trainable.training import checkpoint
from trainable.training.evaluate import evaluate, original_counts, original_probabilities
from trainable.training.fold_log import note
from trainable.training.labels import scored, volumes_of
from trainable.training.trial import FoldTrial

IMAGES_FILE, SCORES_FILE, PROBABILITIES = "images.parquet", "scores.json", "probabilities"
VALIDATION, VALIDATION_FILE = "validation", "validation.parquet"

Indices = npt.NDArray[np.int64]


def resumable(folder: Path) -> checkpoint.State | None:
    """The newest checkpoint to resume from; None if the results of a finished fold are lost: it is trained again."""
    state = checkpoint.load_last(folder)
    if state is None or state["report"] is None or not state["report"]["finished"]:
        return state
    lost = [name for name in (checkpoint.BEST, SCORES_FILE, IMAGES_FILE) if not (folder / name).exists()]
    if lost:
        note(folder, f"{', '.join(lost)} of the finished fold are lost, so it is trained again")
    return None if lost else state


def write_results(trial: FoldTrial, folder: Path, keep_probabilities: bool, validation: Data | None = None) -> None:
    """Evaluate the best and the last weights and write ``images.parquet``, ``scores.json`` and ``best.pt``.

    Scores during training are at working size; final scores are at the images' original size. Both are kept. A
    ``validation`` split, on which nothing is selected, is scored by the best weights at original size.
    """
    best = _network(trial, trial.best.weights)
    steps = {"best": trial.best.step, "last": trial.step}
    counts = {"best": _both_sizes(trial, best, folder / PROBABILITIES if keep_probabilities else None)}
    same = trial.best.step == trial.step
    counts["last"] = counts["best"] if same else _both_sizes(trial, trial.ema.network, None)
    tables = [
        _table(rows, trial.data, trial.held_out).assign(
            fold=trial.fold, weights=weights, size=size, step=steps[weights]
        )
        for weights, sizes in counts.items()
        for size, rows in sizes.items()
    ]
    write_table(pd.concat(tables, ignore_index=True), folder / IMAGES_FILE)
    summary: dict[str, Any] = {
        weights: {
            "step": steps[weights],
            **{size: _scores(rows, trial.data, trial.held_out) for size, rows in sizes.items()},
        }
        for weights, sizes in counts.items()
    }
    if validation is not None:
        summary["best"][VALIDATION] = _validated(trial, best, folder, validation)
    write_checked(folder / SCORES_FILE, summary)
    trial.save_best(folder)


def add_results(trial: FoldTrial, folder: Path, keep_probabilities: bool, validation: Data | None) -> None:
    """Write what is asked for of a fold that finished without it, from its best weights."""
    maps = folder / PROBABILITIES
    unkept = keep_probabilities and any(not (maps / f"{trial.data.stems[i]}.npy").exists() for i in trial.held_out)
    unscored = validation is not None and not _is_validated(folder, validation)
    if not unkept and not unscored:
        return
    best = _network(trial, checkpoint.load(folder / checkpoint.BEST)["weights"])
    if unkept:
        _original(trial, best, trial.data, trial.held_out, maps)
    if validation is not None and unscored:
        summary = read_checked(folder / SCORES_FILE)
        summary["best"][VALIDATION] = _validated(trial, best, folder, validation)
        write_checked(folder / SCORES_FILE, summary)


def _network(trial: FoldTrial, weights: Mapping[str, Tensor]) -> nn.Module:
    network = checkpoint.empty_network(trial.config, trial.data.channels, trial.data.task.classes).to(trial.device)
    network.load_state_dict(weights)
    return network


def _validated(trial: FoldTrial, best: nn.Module, folder: Path, validation: Data) -> Scores:
    """The scores on another split; a table of its images is written."""
    indices = np.flatnonzero(scored(validation)).astype(np.int64)
    rows = _original(trial, best, validation, indices, None)
    write_table(_table(rows, validation, indices).assign(fold=trial.fold), folder / VALIDATION_FILE)
    return _scores(rows, validation, indices)


def _is_validated(folder: Path, validation: Data) -> bool:
    """Whether the fold has been scored on this split, and not on none or another one."""
    if VALIDATION not in read_checked(folder / SCORES_FILE)["best"]:
        return False
    table = read_table(folder / VALIDATION_FILE, "delete the folder to train the fold again")
    return table["stem"].tolist() == [validation.stems[index] for index in np.flatnonzero(scored(validation))]


def _both_sizes(trial: FoldTrial, network: nn.Module, probabilities: Path | None) -> dict[str, Counts]:
    working = evaluate(
        network, trial.data, trial.held_out, trial.config, trial.device, trial.autocast, trial.class_weights
    )
    return {"working": working.counts, "original": _original(trial, network, trial.data, trial.held_out, probabilities)}


def _original(trial: FoldTrial, network: nn.Module, data: Data, indices: Indices, probabilities: Path | None) -> Counts:
    """Counts at original size; probability maps are written to the folder ``probabilities``, if given."""
    config = trial.config
    rows: list[Counts] = []
    for index, probability, truth in original_probabilities(
        network, data, indices, config.batch_size, trial.device, trial.autocast
    ):
        rows.append(original_counts(probability, truth, config.tau, len(data.task.classes)))
        if probabilities is not None:
            half = probability.astype(np.float16)
            path = probabilities / f"{data.stems[index]}.npy"
            write_atomically(path, lambda file, half=half: np.save(file, half))  # type: ignore[misc]
    return np.stack(rows)


def _scores(rows: Counts, data: Data, indices: Indices) -> Scores:
    return scores(rows, data.task, volumes_of(data, indices))


def _table(rows: Counts, data: Data, indices: Indices) -> pd.DataFrame:
    table = pd.DataFrame(to_columns(rows)).assign(stem=[data.stems[index] for index in indices])
    volumes = volumes_of(data, indices)
    return table if volumes is None else table.assign(volume=volumes)
