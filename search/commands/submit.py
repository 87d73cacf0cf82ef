"""``python -m search submit``: a launch on a cluster, from a machine that is no part of it."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainable.errors import UserError
from trainable.exit_codes import INTERRUPTED
from trainable.printing import say
from trainable.storage.atomic_files import write_text

if TYPE_CHECKING:
    from spaces.space import Space

MOST = 450e6  # bytes that Ray carries with a job: 500 MB, of which the code takes little
SPACE, DATA = "space.yaml", "data"


def submit(
    space: Annotated[str, typer.Argument(metavar="SPACE", help="A space file, or the name of one of ours.")],
    address: Annotated[
        str,
        typer.Option("--address", envvar="RAY_API_SERVER_ADDRESS", help="The cluster's dashboard: http://HEAD:8265."),
    ],
    runs: Annotated[
        str,
        typer.Option("--runs", help="The folder of all runs, as the cluster's nodes see it: a shared one, or s3://."),
    ],
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the space.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow what it says until it ends.")] = True,
) -> None:
    """Launch a space as a job of a Ray cluster, and follow it; the same command finds it again.

    The search does not need this machine any more: it goes on when this command ends, and --set, the code and small
    data travel with it. Data that are on the cluster already, or in s3://, are named by data in the space.

    Example: python -m search submit full_grid --address http://127.0.0.1:8265 --runs s3://bucket/runs
    """
    import json

    from spaces.load import load_space

    if "://" not in runs and not Path(runs).is_absolute():
        raise UserError(f"--runs {runs}: must be a path from the root that all nodes share, or s3://BUCKET/PREFIX")
    asked = load_space(space, assignments or [])
    from cluster.connection.submission import Submission  # late, so that a mistake is told before Ray is loaded

    submission = Submission(address, asked.settings.name)
    identity = submission.active_job()
    if identity is None:
        with tempfile.TemporaryDirectory(prefix="scribble-search-") as scratch:
            folder = Path(scratch)
            data = _take_along(asked, folder)
            write_text(folder / SPACE, json.dumps(asked.canonical() | data, indent=2) + "\n")
            # In a job RAY_ADDRESS is the cluster that it runs on.
            command = f"python -m search launch {SPACE} --plain --runs {shlex.quote(runs)}"
            identity = submission.send(command, folder)
        say(f"{identity}: sent to {address}")
    else:
        say(f"{identity}: is under way on {address} already; its space stays what it was")
    if not wait:
        words = [word for word in sys.argv[1:] if word != "--no-wait"]
        say(f"\nNext: {shlex.join(['python', '-m', 'search', *words])}")
        return
    try:
        raise typer.Exit(submission.follow(identity))
    except KeyboardInterrupt:
        name = asked.settings.name
        say(f"\nthe search goes on without this terminal; python -m search stop {name} --runs {runs} would end it")
        say(f"Next: {shlex.join(['python', '-m', 'search', *sys.argv[1:]])}")
        raise typer.Exit(INTERRUPTED) from None


def _take_along(space: Space, folder: Path) -> dict[str, str]:
    """Copy the data of a space that are on this machine; what is not here is the cluster's own."""
    asked = str(space.settings.data)
    source = Path(asked)
    if not space.trainable.needs_data or "://" in asked or not source.is_dir():
        return {}
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    if size > MOST:
        raise UserError(
            f"{asked}: holds {size / 1e6:,.0f} MB, more than travels with a job; copy it to the cluster, or to s3://, "
            "and say where: --set data=..."
        )
    shutil.copytree(source, folder / DATA)
    return {"data": DATA}
