"""``python -m search submit``: a launch on a cluster, from a machine outside it."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.commands.options import SpaceName
from trainable.config import PLUGINS, copy_plugins
from trainable.errors import UserError
from trainable.exit_codes import INTERRUPTED
from trainable.printing import say
from trainable.storage.atomic_files import write_text

if TYPE_CHECKING:
    from cluster.connection.submission import Submission
    from spaces.space import Space

MAX_BYTES = 450e6  # Ray uploads at most 500 MB with a job, including the code
SPACE, DATA = "space.yaml", "data"


DashboardUrl = Annotated[
    str,
    typer.Option(
        "--address", envvar="RAY_API_SERVER_ADDRESS", help="URL of the cluster's dashboard: http://HEAD:8265."
    ),
]
ClusterRuns = Annotated[
    str, typer.Option("--runs", help="The folder of all runs on the cluster: a shared folder, or s3://bucket/prefix.")
]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the space.")
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the output until the search ends.")]


def submit(
    space: SpaceName, address: DashboardUrl, runs: ClusterRuns, assignments: Assignments = None, wait: Wait = True
) -> None:
    """Launch a space as a job of a Ray cluster, and follow it.

    The search continues when this command ends, and the same command reconnects to it. The space, the code and small
    data sets are uploaded with the job. For data on the cluster or in s3://, set data in the space to their path there.

    Example: python -m search submit full_grid --address http://127.0.0.1:8265 --runs s3://bucket/runs
    """
    from spaces.load import load_space

    if "://" not in runs and not Path(runs).is_absolute():
        raise UserError(f"--runs {runs}: must be an absolute path that all nodes share, or s3://BUCKET/PREFIX")
    loaded = load_space(space, assignments or [])
    from cluster.connection.submission import Submission  # late: errors in the space are reported before Ray loads

    submission = Submission(address, loaded.settings.name)
    identity = submission.active_job()
    if identity is None:
        identity = _send(submission, loaded, runs)
        say(f"{identity}: submitted to {address}")
    else:
        say(f"{identity}: already running on {address}; its space is unchanged")
    if not wait:
        arguments = [argument for argument in sys.argv[1:] if argument != "--no-wait"]
        say(f"\nNext: {shlex.join(['python', '-m', 'search', *arguments])}")
        return
    try:
        raise typer.Exit(submission.follow(identity))
    except KeyboardInterrupt:
        name = loaded.settings.name
        stopping = shlex.join(["python", "-m", "search", "stop", name, "--runs", runs])
        say(f"\nThe search continues on the cluster. To stop it: {stopping}")
        say(f"Next: {shlex.join(['python', '-m', 'search', *sys.argv[1:]])}")
        raise typer.Exit(INTERRUPTED) from None


def _send(submission: Submission, space: Space, runs: str) -> str:
    """Submit a launch of the space, with what its job needs of this machine, and return the job's name."""
    name = space.settings.name
    with tempfile.TemporaryDirectory(prefix="scribble-search-") as scratch:
        folder = Path(scratch)
        data = _copy_data(space, folder)
        copy_weights(space, folder)
        plugins = copy_plugins(space.settings.plugins, folder)
        named = {PLUGINS: list(plugins)} if plugins else {}  # on the cluster, the files are named by this command
        write_text(folder / SPACE, json.dumps(space.canonical() | data | named, indent=2) + "\n")
        # Ray sets RAY_ADDRESS for the job, so launch needs no --address.
        command = f"python -m search launch {SPACE} --plain --runs {shlex.quote(runs)}"
        return submission.send(f"{command}  # {name}", folder)  # the dashboard's list of jobs shows the command


def _copy_data(space: Space, folder: Path) -> dict[str, str]:
    """Copy the data of a space into the job's folder if they are on this machine."""
    name = str(space.settings.data)
    source = Path(name)
    if not space.trainable.needs_data or "://" in name or not source.is_dir():
        return {}
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    if size > MAX_BYTES:
        raise UserError(
            f"{name}: {size / 1e6:,.0f} MB exceed the {MAX_BYTES / 1e6:,.0f} MB that can be uploaded with a job; copy "
            "the data to the cluster or to s3://, and give their path there: --set data=..."
        )
    shutil.copytree(source, folder / DATA)
    return {"data": DATA}


def copy_weights(space: Space, folder: Path) -> None:
    """Copy files of weights in the working folder to the same place in the job's folder; others are on the cluster."""
    from search.planning.files import model_sources, weights_names

    for run in model_sources(space) if space.trainable.needs_data else ():
        if "://" not in run and not Path(run).is_absolute():
            raise UserError(
                f"features_from: {run}: is a run in the working folder, which the cluster does not see; "
                "give s3://BUCKET/RUN or an absolute path on the cluster"
            )
    for name in weights_names(space) if space.trainable.needs_data else ():
        source = Path(name)
        if "://" in name or source.is_absolute():
            continue
        if not source.is_file() or ".." in source.parts:
            raise UserError(
                f"encoder_weights: {name}: is not a file in the working folder, which would be uploaded with the job; "
                "give an absolute path on the cluster or s3://BUCKET/NAME"
            )
        (folder / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / source)
