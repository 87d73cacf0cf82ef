"""The Python API of the search: launching a space and opening a run."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from search.runs.run_tables import RunTables, read_run
from spaces.load import load_space, make_space
from spaces.space import Space


def launch(
    space: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    runs: str | Path = "runs",
    address: str | None = None,
    dashboard: bool = False,
    force_code: bool = False,
) -> RunTables:
    """Run a search to its end and return the run; a run of that name that exists is resumed.

    ``space`` is a file, the name of a shipped space, or what a space file would contain as a dictionary; ``overrides``
    are ``"key.path=value"`` as the command line takes them after ``--set``. Everything else is as in
    ``python -m search launch``. Whether the run ended, spent its budget or was interrupted is in ``status.state``.
    """
    from search.commands.launch import launch_space
    from search.commands.launch_checks import LaunchOptions
    from search.planning.plan import PlanOptions
    from search.terminal.watch import show_run

    request = LaunchOptions(
        str(runs),
        force_code,
        rebuild=False,
        plan=PlanOptions(None, False),
        address=address,
        dashboard=dashboard,
        show=partial(show_run, plain=True),
    )
    run, _, _ = launch_space(_space(space, overrides), request)
    return read_run(run)


def open_run(name: str | Path, runs: str | Path = "runs") -> RunTables:
    """Open a run by its folder, its name below ``runs`` or its URL, whether it is finished, running or damaged."""
    from search.run_storage.find_runs import find_run

    return read_run(find_run(str(name), str(runs)))


def _space(space: str | Path | Mapping[str, Any], overrides: Sequence[str]) -> Space:
    if not isinstance(space, Mapping):
        return load_space(space, overrides)
    if overrides:
        raise TypeError("overrides go with a space file; change the dictionary instead")
    return make_space(space)
