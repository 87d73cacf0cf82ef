"""Export a config as one folder to retrain it, predict with it, and verify both."""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml

from analysis.answer.document import document, full_config
from analysis.answer.score_basis import scored_on_scribbles
from analysis.answer.selection import select
from analysis.ensembles.assemble import assemble, chosen, needs_models
from analysis.ensembles.ensemble import FILE, MANIFEST, Ensemble, load_ensemble
from analysis.ensembles.methods import refuse_methods
from analysis.ensembles.refinement_file import FILE as REFINEMENT
from analysis.exports.onnx_export import export_onnx, need_onnx
from analysis.exports.readme import readme
from analysis.refinement.chain import as_rows
from search.runs.run_folder import ENVIRONMENT, FOLDS, SPACE, WEIGHTS, Run
from search.runs.run_tables import RunTables
from spaces.load import make_space
from spaces.space import Space
from trainable.config import PLUGINS, as_written, make_config
from trainable.errors import UserError
from trainable.machine.device import pick_device
from trainable.storage.atomic_files import write_json, write_text

FACTS, CONFIG, REQUIREMENTS, SELECTION, SUMS = (
    "export.json",
    "config.json",
    "requirements.txt",
    "selection.json",
    "SHA256SUMS",
)
ONNX, SCRIPT, README = "ensemble.onnx", "predict_onnx.py", "README.md"
FILES = (
    *(CONFIG, SPACE, FOLDS, ENVIRONMENT, REQUIREMENTS, SELECTION, FILE, MANIFEST, REFINEMENT),
    *(ONNX, SCRIPT, README, SUMS),
)
SAME = ("version", "run", "config", "data_hash", "folds_hash")  # the facts that identify an export
KEPT = ("data", "validation", "folds", "fold_seed", "metric", "resources", "trainable")  # of the run's space
HERE = Path(__file__).parent
VERSION = 1
NOT_INSIDE = "none"  # of the refinement is inside the ONNX file


def export(
    tables: RunTables, name: str | None, folder: Path, onnx: bool, refine: bool = True, force: bool = False
) -> dict[str, Any]:
    """Write the folder and return the content of export.json; options are checked before anything is written."""
    manifest_is_all = "python -m analysis ensemble writes their manifest, which is all that predict needs"
    refuse_methods(tables.run, f"methods have nothing to retrain; {manifest_is_all}")
    (config,) = chosen(tables, name, None)
    if onnx:
        wanted = make_config(full_config(tables, config))
        if SCRIPT in (plugin.name for plugin in wanted.plugins):
            raise UserError(f"{SCRIPT}: a plugin of the run has the name of the ONNX file's script: use --no-onnx")
        need_onnx(wanted)
    run = tables.run
    needs_models(run, config)
    space = pinned(tables, config)
    facts = _facts(run, config)
    _take(folder, facts, force)
    _, manifest = assemble(run, [config], "none", folder, refine)
    ensemble = load_ensemble(folder, pick_device("cpu"), refine=refine)
    if ensemble.refinement:
        facts["refinement"] = as_rows(ensemble.refinement)
    write_text(folder / SPACE, yaml.safe_dump(space.canonical(), sort_keys=False, allow_unicode=True))
    for kept in (FOLDS, ENVIRONMENT):
        shutil.copyfile(run.folder / kept, folder / kept)
    shutil.copyfile(run.folder / "configs" / config / CONFIG, folder / CONFIG)
    write_text(folder / REQUIREMENTS, _requirements(run))
    write_json(folder / SELECTION, document(tables, select(tables)))
    if onnx:
        assert isinstance(ensemble, Ensemble)  # methods were refused above
        facts["onnx_difference"] = export_onnx(ensemble, folder / ONNX)
        facts |= {"onnx_refinement": NOT_INSIDE} if ensemble.refinement else {}
        shutil.copyfile(HERE / SCRIPT, folder / SCRIPT)
    write_json(folder / FACTS, facts)
    scores = tables.full().loc[config].dropna().to_dict()
    by_fold = {int(str(k)): v for k, v in scores.items()}
    basis = scored_on_scribbles(tables)
    write_text(folder / README, readme(facts, space, by_fold, tables.metric, manifest, basis))
    write_text(folder / SUMS, "".join(f"{_hash(path)}  {path.name}\n" for path in sorted(_own(folder, manifest))))
    return facts


def pinned(tables: RunTables, config: str) -> Space:
    """The run's space with every hyperparameter of one config, so that it does not depend on defaults."""
    canonical = tables.space.canonical()
    full = full_config(tables, config)
    values = {name: as_written(name, value) for name, value in full.items() if name != PLUGINS}
    tree: dict[str, Any] = {"name": f"{tables.run.name[:40]}-{config}"}
    tree |= {key: canonical[key] for key in KEPT if key in canonical}
    tree |= {PLUGINS: full[PLUGINS]} if PLUGINS in full else {}
    space = make_space(tree | {"parameters": values})
    (point,) = space.configs()
    if point.id != config:
        raise UserError(f"{config}: its hyperparameters give the id {point.id} with this version of the program")
    return space


def _facts(run: Run, config: str) -> dict[str, Any]:
    environment = run.environment()
    weights = environment.get(WEIGHTS, {})
    started = run.config(config)["config"].get(WEIGHTS)
    folds = run.folds()
    return {
        "version": VERSION,
        "run": run.name,
        "config": config,
        "data_hash": folds.data_hash,
        "folds_hash": folds.hash,
        "commit": environment["commit"],
        "code": environment["code"],
        "python": environment["python"],
        "packages": environment["packages"],
    } | ({WEIGHTS: {started: weights[started]}} if started in weights else {})


def _take(folder: Path, facts: Mapping[str, Any], force: bool) -> None:
    """Prepare the folder, which must be new or empty; with ``force``, files of an earlier export are replaced."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; an export is a folder")
    if folder.is_dir() and any(folder.iterdir()):
        if not force:
            same = all(_before(folder).get(key) == facts[key] for key in SAME)
            what = f"is an export of {facts['config']} already" if same else "is not empty"
            raise UserError(f"{folder}: {what}; choose another folder, or --force replaces the files of an export")
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
    write_json(folder / FACTS, facts)


def _before(folder: Path) -> dict[str, Any]:
    """The export.json of an earlier export; empty if there is none or it is damaged."""
    try:
        return dict(json.loads((folder / FACTS).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _own(folder: Path, manifest: Mapping[str, Any]) -> list[Path]:
    names = {FACTS, *FILES, *manifest.get(PLUGINS, ())}
    return [path for name in names if name != SUMS and (path := folder / name).exists()]


def _requirements(run: Run) -> str:
    """All installed packages, with the run's versions of those that scores depend on."""
    versions = {_normalised(each.metadata["Name"]): each.version for each in distributions()}
    versions |= {_normalised(name): of_run for name, of_run in run.environment()["packages"].items() if of_run}
    return "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()) if name != "scribble-search")


def _normalised(name: str) -> str:
    """A package has one name for pip, however it is spelled (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
