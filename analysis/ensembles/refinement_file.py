"""Where the post-processing that was chosen for the models of some configs is kept, and how an ensemble finds it.

A run keeps it in ``analysis/refinement/``, by the names of the configs. An ensemble of these has a copy beside it,
``refinement.json``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.refinement.chain import Chain, read_chain
from search.runs.run_folder import Run
from trainable.errors import UserError
from trainable.storage.checked_json import read_checked, write_checked

KEPT = Path("analysis", "refinement")
FILE = "refinement.json"
VERSION = 1
LEAVE_OUT = "--no-refine leaves it out, and python -m analysis refine RUN writes a new one"


def name_of(configs: Collection[str]) -> str:
    """The name of an ensemble of these configs: the id of a single one, or several with a ``+`` between."""
    return "+".join(sorted(set(configs)))


def keep(run: Run, name: str, document: Mapping[str, Any]) -> Path:
    """Write what was chosen for the configs of this name into their run."""
    path = run.folder / KEPT / f"{name}.json"
    write_checked(path, {"version": VERSION, **document})
    return path


def place_beside(run: Run, configs: Sequence[str], folder: Path) -> Path | None:
    """Copy the refinement of these configs beside their ensemble; one of others is removed."""
    target = folder / FILE
    if configs:
        run.fetch(f"{KEPT.as_posix()}/{name_of(configs)}.json")
        source = run.folder / KEPT / f"{name_of(configs)}.json"
        if source.exists():
            write_checked(target, read_checked(source, LEAVE_OUT))
            return target
    target.unlink(missing_ok=True)
    return None


def read_refinement(folder: Path, configs: Collection[str], classes: Sequence[str]) -> Chain:
    """The chain beside an ensemble; empty if there is none. One that was chosen for other models is an error."""
    path = folder / FILE
    if not path.exists():
        return ()
    document = read_checked(path, LEAVE_OUT)
    try:
        version, config, named, steps = (document[key] for key in ("version", "config", "classes", "steps"))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: is damaged ({type(error).__name__}: {error}); {LEAVE_OUT}") from None
    if version != VERSION:
        raise UserError(f"{path}: has version {version}, this program reads version {VERSION}; {LEAVE_OUT}")
    if name_of(configs) != config:
        raise UserError(
            f"{path}: was chosen for config {config}, but the ensemble consists of {name_of(configs)}; {LEAVE_OUT}"
        )
    if list(named) != list(classes):
        raise UserError(f"{path}: is for the classes {', '.join(named)}, not {', '.join(classes)}; {LEAVE_OUT}")
    return read_chain(steps, str(path))
