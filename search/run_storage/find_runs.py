"""Find a run by its name, its folder or its URL."""

from pathlib import Path

from search.runs.run_folder import SPACE, Run
from spaces.shipped import shipped_spaces
from trainable.errors import UserError, did_you_mean
from trainable.storage.urls import is_url


def find_run(name: str, root: str) -> Run:
    """Look up a run by folder, by name below ``root``, or by URL."""
    if is_url(name) or is_url(root):
        from search.run_storage.stored_run import find_stored_run

        return find_stored_run(name, root)
    for folder in (Path(name), Path(root, name)):
        if is_run(folder):
            return Run(folder)
    existing = [run.name for run in all_runs(root)]
    listed = f" Known: {', '.join(existing)}." if existing else ""
    raise UserError(f"{name}: no such run, here or in {root}.{did_you_mean(name, existing)}{listed}")


def refuse_run(space: str, root: str) -> None:
    """Refuse a run where a space is expected. The run of a shipped space has its name, which stands for the space."""
    if Path(space).is_file() or space in shipped_spaces():
        return
    for folder in [Path(space), *([] if is_url(root) else [Path(root, space)])]:
        if is_run(folder):
            raise UserError(f"{space}: is a run, not a space; to resume it: {Run(folder).resume_command}")


def is_run(folder: Path) -> bool:
    return (folder / SPACE).exists()


def all_runs(root: str) -> list[Run]:
    """All runs below a root, of which those in an object store are not up to date before they are refreshed."""
    if is_url(root):
        from search.run_storage.stored_run import all_stored_runs

        return all_stored_runs(root)
    if not Path(root).is_dir():
        return []
    return [Run(path) for path in sorted(Path(root).iterdir()) if is_run(path)]
