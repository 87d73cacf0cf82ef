"""Build an ensemble of a run's fold models, with a manifest of its members and training data."""

import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from analysis.answer.selection import needs_a_winner, scored_config, winner_of
from analysis.ensembles import fingerprints
from analysis.ensembles.ensemble import (
    FILE,
    MANIFEST,
    Ensemble,
    Flips,
    Member,
    read_member,
    same_threshold,
    save_ensemble,
)
from analysis.ensembles.methods import TRAINABLE
from analysis.ensembles.refinement_file import place_beside
from search.runs.fold_models import how_to_finish
from search.runs.run_folder import Run
from search.runs.run_tables import RETRAIN, RunTables
from trainable.config import PLUGINS, copy_plugins
from trainable.data.dataset import find_splits
from trainable.data.task import TWO_CLASSES
from trainable.errors import UserError
from trainable.images.pretrained.features import FILE as PRETRAINED
from trainable.images.results import TAU
from trainable.printing import plural
from trainable.storage.cached_copies import data_folder
from trainable.storage.checked_json import read_checked, write_checked
from trainable.training.checkpoint import BEST, config_of
from trainable.training.finish import SCORES_FILE

FOLDER = Path("analysis", "ensemble")
LEFT = {"fold": BEST, TRAINABLE: SCORES_FILE}  # the file that every finished fold has, by the kind of fold trial
PACKAGES = ("scribble-search", "torch", "segmentation-models-pytorch", "timm")
SPLIT = "train"


def chosen(tables: RunTables, config: str | None, top: int | None) -> list[str]:
    """The winner, the given config, or the best complete configs."""
    if config is not None and top is not None:
        raise UserError("--config and --top exclude each other")
    if config is not None:
        return [scored_config(tables, config)]
    complete = tables.complete()
    if top is not None and top > len(complete):
        raise UserError(f"--top {top}: only {plural(len(complete), 'config')} with all {tables.folds} folds")
    winner = needs_a_winner(tables, winner_of(tables)).config
    means = tables.full().loc[complete].mean(axis=1)
    others = sorted((each for each in complete if each != winner), key=lambda each: -means[each])
    return [winner, *others][: top or 1]


def assemble(
    run: Run, configs: Sequence[str], tta: Flips, out: Path | None, refine: bool = True
) -> tuple[Path, dict[str, Any]]:
    """Average all folds of these configs; return the ensemble's folder and its manifest.

    The refinement that was chosen for the config is placed beside it.
    """
    folder = out or run.folder / FOLDER
    if run.space().settings.trainable == TRAINABLE:
        document = _manifest_of_methods(run, configs, tta)
        (folder / FILE).unlink(missing_ok=True)
    else:
        members = [member for config in configs for member in _members(run, config)]
        ensemble = Ensemble(members, same_threshold(members), tta)
        plugins = copy_plugins((each for member in members for each in config_of(member.state).plugins), folder)
        document = _manifest(run, ensemble) | ({PLUGINS: plugins} if plugins else {})
        save_ensemble(ensemble, folder / FILE)
    write_checked(folder / MANIFEST, document)
    place_beside(run, configs if refine else (), folder)
    return folder, document


def build_ensemble(
    tables: RunTables, config: str | None = None, top: int | None = None, tta: Flips = "none", out: Path | None = None
) -> Path:
    """What ``python -m analysis ensemble`` does with a run that is open; returns the ensemble's folder."""
    folder, _ = assemble(tables.run, chosen(tables, config, top), tta, out)
    tables.run.publish(folder)
    return folder


def needs_models(run: Run, config: str) -> list[Path]:
    """The fold folders of a config; an error if a fold has not left what an ensemble is made of."""
    space = run.space()
    if space.settings.trainable not in LEFT:
        raise UserError(f"{run.folder}: its fold trials are {space.settings.trainable}, they save no models")
    left = LEFT[space.settings.trainable]
    needed = dict.fromkeys((left, SCORES_FILE))
    run.fetch(*(f"configs/{config}/*/{name}" for name in needed))
    place = run.folder / "configs" / config
    if not place.is_dir():
        raise UserError(f"{config}: no such config in {run.folder}")
    folds = [place / f"fold_{fold}" for fold in range(space.settings.folds)]
    missing = [folder.name for folder in folds if not all((folder / name).exists() for name in needed)]
    if missing:
        raise UserError(
            f"{config}: has no finished model of {', '.join(missing)}; an ensemble needs all {len(folds)} folds: "
            f"{how_to_finish(run, config)}"
        )
    return folds


def _members(run: Run, config: str) -> list[Member]:
    return [read_member(config, fold, folder) for fold, folder in enumerate(needs_models(run, config))]


def _manifest(run: Run, ensemble: Ensemble) -> dict[str, Any]:
    first = ensemble.members[0].state
    seen = sorted({stem for member in ensemble.members for stem in member.state["trained_on"]})
    facts = run.environment()
    return {
        "run": run.name,
        "configs": {member.config: member.state["config"] for member in ensemble.members},
        "members": [_row(run, member.config, member.fold) for member in ensemble.members],
        "tau": ensemble.tau,
        "tta": ensemble.tta,
        "data_hash": first["data_hash"],
        "folds_hash": first["folds_hash"],
        "commit": facts["commit"],
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        **fingerprints.facts(_training_images(run), seen),
        **({"classes": list(ensemble.classes), "channels": ensemble.channels} if "classes" in first else {}),
        **{name: facts[name] for name in ("scored_on",) if name in facts},
    }


def _manifest_of_methods(run: Run, configs: Sequence[str], tta: Flips) -> dict[str, Any]:
    """Methods saw no image but the one that they segment, apart from those with fold models of another run."""
    if tta != "none":
        raise UserError(f"--tta {tta}: is for networks; a method sees each image once")
    cells = [(config, fold) for config in configs for fold in range(len(needs_models(run, config)))]
    folds = run.folds()
    facts = run.environment()
    recorded = {name: run.config(name) for name in configs}
    networks = _networks_of_methods(run, configs)
    learnt = any(document["config"].get("features") == "fold" for document in recorded.values())
    seen = sorted(folds.assignment) if learnt else []
    return {
        "run": run.name,
        "trainable": TRAINABLE,
        "configs": {name: run.config(name)["config"] for name in configs},
        "members": [_row(run, config, fold) for config, fold in cells],
        "tau": TAU,
        "tta": tta,
        "data_hash": folds.data_hash,
        "folds_hash": folds.hash,
        "commit": facts["commit"],
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        **fingerprints.facts(_training_images(run), seen),
        "classes": facts.get("classes", list(TWO_CLASSES.classes)),
        **({"pretrained": networks} if networks else {}),
    }


def _networks_of_methods(run: Run, configs: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """What each fold recorded of its network that has seen other images, by config."""
    run.fetch(*(f"configs/{config}/*/{PRETRAINED}" for config in configs))
    paths = {config: [folder / PRETRAINED for folder in needs_models(run, config)] for config in configs}
    return {
        config: [json.loads(path.read_text()) for path in own]
        for config, own in paths.items()
        if all(path.exists() for path in own)
    }


def _row(run: Run, config: str, fold: int) -> dict[str, Any]:
    """A member and its out-of-fold score."""
    folder = run.folder / "configs" / config / f"fold_{fold}"
    best = read_checked(folder / SCORES_FILE, RETRAIN)["best"]
    return {"config": config, "fold": fold, "step": best["step"], "out_of_fold": best["original"]}


def _training_images(run: Run) -> dict[str, Path]:
    """The folder of the training images; empty if the data are not on this machine."""
    data = data_folder(str(run.space().settings.data))
    try:
        return dict(find_splits(data)[SPLIT].images)
    except (UserError, KeyError):
        return {}
