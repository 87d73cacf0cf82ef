"""Choose the post-processing of one or several configs on out-of-fold probabilities, and write it down."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.answer.document import full_config
from analysis.answer.selection import plain
from analysis.ensembles.assemble import FOLDER, chosen, needs_models
from analysis.ensembles.ensemble import MANIFEST, Flips, one_threshold
from analysis.ensembles.methods import REBUILD, refuse_methods
from analysis.ensembles.refinement_file import keep, name_of, place_beside
from analysis.refinement.chain import as_rows, words
from analysis.refinement.steps.registry import ORDER
from analysis.refinement.steps.scribbles import Scribbles
from analysis.refinement.steps.step import Step
from analysis.refinement.steps.thresholds import ClassWeights, Threshold
from analysis.tuning.candidates import rounds_of, settings_at_once
from analysis.tuning.out_of_fold import data_of, held_out_images, room_needed
from analysis.tuning.scoring import Scoring
from analysis.tuning.selection import Selected, Tried, rounds_in, select
from analysis.tuning.trials import HeldOut, Trials, check_room
from search.runs.run_tables import RunTables
from trainable.config import SCRIBBLED, make_config
from trainable.data.decoded_images import Data
from trainable.data.groups import GROUPS, read_groups
from trainable.data.labelled import SCRIBBLES
from trainable.errors import UserError, did_you_mean
from trainable.machine.device import pick_device
from trainable.printing import Progress, digits
from trainable.storage.checked_json import read_checked
from trainable.training.labels import scored


@dataclass(frozen=True)
class Refined:
    """What was chosen, its document, and the files that it was written to."""

    selected: Selected
    document: dict[str, Any]
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def refine(
    tables: RunTables,
    name: str | None,
    device: str,
    progress: Progress,
    skipped: Sequence[str] = (),
    tta: Flips = "none",
    top: int | None = None,
) -> Refined:
    """Choose for the winner, the named config or the ``top`` best, without the steps that are named as ``skipped``.

    Probabilities of several configs are averaged, and with ``tta`` flips, those of each over flips, as in an ensemble.
    """
    check_steps(skipped)
    refuse_methods(tables.run, "refine is for runs of networks, not of methods on single images")
    configs = chosen(tables, name, top)
    values = [make_config(full_config(tables, config)) for config in configs]
    tau = one_threshold({each.tau: config for each, config in zip(values, configs, strict=True)})
    for config in configs:
        needs_models(tables.run, config)
    place = pick_device(device)
    data = data_of(tables, configs[0])
    kinds, notes = steps_to_try(data, any(each.inputs == SCRIBBLED for each in values), skipped)
    with tempfile.TemporaryDirectory(prefix="refine-") as scratch:
        check_room(Path(scratch), room_needed(data, settings_at_once(kinds, data.task), len(configs)))
        note = _counter(progress, int(scored(data).sum()) * (len(configs) + rounds_in(kinds, data.task)))
        images = held_out_images(tables, configs, data, place, Path(scratch), note, tta)
        scoring = _scoring(tables, data, images)
        trials = Trials(images, len(data.task.classes), tau, place, Path(scratch), note)
        selected = select(kinds, scoring, trials.evaluate)
    if math.isnan(selected.tried[-1].gain.error):
        notes.append(f"every fold holds out a single {scoring.unit}, so no gain can be told from chance")
    document = _document(tables, name_of(configs), data, tau, scoring, selected) | {"tta": tta}
    files = [keep(tables.run, name_of(configs), document)]
    ensemble = tables.run.folder / FOLDER
    tables.run.fetch((FOLDER / MANIFEST).as_posix())
    if (ensemble / MANIFEST).exists() and _members(ensemble) == set(configs):
        files += [path for path in [place_beside(tables.run, configs, ensemble)] if path]
    return Refined(selected, document, tuple(files), tuple(notes))


def rows(refined: Refined) -> list[dict[str, Any]]:
    """The table: each step alone, then the best chain."""
    return [
        {
            "step": row["step"],
            "gain": row["gain"],
            "low": row["low"],
            "high": row["high"],
            "setting": row["words"],
            "chosen": row["chosen"],
        }
        for row in refined.document["tried"]
    ]


def summary(document: dict[str, Any]) -> str:
    """The answer in one sentence, or two if a row of the table seems to contradict it."""
    *alone, chain = document["tried"]
    if not chain["setting"]:
        return "Nothing helps: no step gains enough, so masks stay as they are."
    interval = f"95 % interval {digits(chain['low'], sign=True)} to {digits(chain['high'], sign=True)}"
    if document["steps"]:
        return (
            f"Masks are refined by {chain['words']}: {document['metric']} {digits(document['score'])} "
            f"{digits(chain['gain'], sign=True)} ({interval})."
        )
    found = (
        f"Masks stay as they are: the best chain, {chain['words']}, changes {document['metric']} by "
        f"{digits(chain['gain'], sign=True)} ({interval}), which is no certain gain."
    )
    sure = [row["step"] for row in alone if row["setting"] and row["gain"] > 0 and row["low"] >= 0]
    if not sure:
        return found
    return (
        f"{found} Rows that show no loss ({', '.join(sure)}) are not used instead, because picking one of several "
        "would be a choice on the images that it is scored on."
    )


def check_steps(skipped: Sequence[str]) -> None:
    """Raise an error for a name that no step has."""
    names = [kind.name for kind in ORDER]
    for name in skipped:
        if name not in names:
            hint = did_you_mean(name, names) or f" Known: {', '.join(names)}."
            raise UserError(f"--skip {name}: unknown step.{hint}")


def steps_to_try(data: Data, sees_scribbles: bool, skipped: Sequence[str] = ()) -> tuple[list[type[Step]], list[str]]:
    """The steps whose gain can be measured on these data and reached by the models, and why others are not tried."""
    reasons: dict[type[Step], str] = {kind: "as --skip says" for kind in ORDER if kind.name in skipped}
    if not data.scribbled.any():
        reasons[Scribbles] = "no image has any"
    elif not sees_scribbles:
        reasons[Scribbles] = "the model is for images without scribbles (inputs: image), which this step cannot improve"
    if data.scored_on == SCRIBBLES:
        of_scribbles = "because the data have no masks and scores are of the scribbled pixels"
        reasons[Scribbles] = of_scribbles
        reasons[Threshold if data.task.binary else ClassWeights] = f"{of_scribbles}, which show no borders"
    kinds = [kind for kind in ORDER if kind not in reasons]
    notes = [f"{kind.name}: not tried, {reason}" for kind, reason in reasons.items()]
    if not any(rounds_of(kind, data.task) for kind in kinds):
        raise UserError(f"no step is left to try ({'; '.join(notes)})")
    return kinds, notes


def _scoring(tables: RunTables, data: Data, images: Sequence[HeldOut]) -> Scoring:
    stems, folds = [image.stem for image in images], np.array([image.fold for image in images], np.int64)
    path = data.split.root / GROUPS
    known = read_groups(path, data.stems) if path.exists() else data.volumes
    groups = None if known is None else tuple(f"group {known[stem]}" if stem in known else stem for stem in stems)
    volumes = None if data.volumes is None else tuple(data.volumes[stem] for stem in stems)
    return Scoring(tables.metric, data.task, folds, volumes, groups)


def _document(
    tables: RunTables, config: str, data: Data, tau: float, scoring: Scoring, selected: Selected
) -> dict[str, Any]:
    return {
        "run": tables.run.name,
        "config": config,
        "classes": list(data.task.classes),
        "data_hash": data.hash,
        "metric": tables.metric,
        "scored_on": data.scored_on,
        "score": selected.score,
        "images": len(scoring.folds),
        "folds": len(scoring.fold_numbers),
        "drawn": scoring.unit,
        "tau": tau,
        "steps": as_rows(selected.chain),
        "tried": [_row(each, selected, last=each is selected.tried[-1]) for each in selected.tried],
    }


def _row(tried: Tried, selected: Selected, last: bool) -> dict[str, Any]:
    used = tried.helps if last else tried.name in {step.name for step in selected.chain}
    return {
        "step": tried.name,
        "gain": tried.gain.mean,
        "low": plain(tried.gain.low),
        "high": plain(tried.gain.high),
        "setting": as_rows(tried.chain),
        "words": words(tried.chain),
        "chosen": used,
        "by_fold": [as_rows(chain) for chain in tried.without],
    }


def _counter(progress: Progress, total: int) -> Callable[[], None]:
    done = 0

    def note() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    return note


def _members(ensemble: Path) -> set[str]:
    """The configs of an ensemble."""
    return set(read_checked(ensemble / MANIFEST, REBUILD)["configs"])
