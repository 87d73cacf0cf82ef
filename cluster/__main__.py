"""``python -m cluster``: the command line of the machines."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from trainable.commands import WRONG, run
from trainable.errors import UserError
from trainable.printing import Format, print_csv, print_json, print_table, progress_bar, say

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)

Output = Annotated[Format, typer.Option("--format", help="How to print.")]


@app.callback()
def cluster() -> None:
    """Start clusters, and know their machines."""


@app.command()
def doctor(
    address: Annotated[
        str | None, typer.Option("--address", help="Of a Ray (default: RAY_ADDRESS, or else this machine alone).")
    ] = None,
    runs: Annotated[
        str, typer.Option("--runs", metavar="ROOT", help="The folder or store that holds all runs.")
    ] = "runs",
    data: Annotated[Path | None, typer.Option("--data", metavar="FOLDER", help="A data set to look for.")] = None,
    patience: Annotated[float, typer.Option(min=1.0, help="Seconds to wait for an answer of a node.")] = 120.0,
    output: Output = Format.table,
) -> None:
    """What every node has and reaches, and what is wrong with it: exit code 2 if anything is.

    GPUs and their driver, versions and code against this machine's, free disk, the folder of runs (each node reads
    what this machine wrote there, and the other way round), the data, the clock, the way to the object store. Data
    that a node does not see is sent to it by a launch; other data under the same path is a problem.

    Example: python -m cluster doctor --address 10.0.0.1:6379 --runs /shared/runs --data data/scribbles
    """
    from cluster.doctor import examine
    from cluster.report import COLUMNS, document, node_rows, problem_rows

    if data is not None and not data.is_dir():
        raise UserError(f"--data {data}: no such folder here")
    root = runs if "://" in runs else str(Path(runs).absolute())
    with _ray(address or os.environ.get("RAY_ADDRESS")), progress_bar("asking the nodes") as progress:
        nodes, problems = examine(root, None if data is None else str(data.absolute()), patience, progress)
    if output is Format.json:
        print_json(document(nodes, problems))
    elif output is Format.csv:
        print_csv(node_rows(nodes, problems), COLUMNS)
    else:
        if problems:
            print_table(problem_rows(problems), "Problems")
            print()
        print_table(node_rows(nodes, problems), "Nodes")
    say(f"\n{len(nodes)} nodes, {len(problems)} problems")
    raise typer.Exit(WRONG if problems else 0)


def _ray(address: str | None) -> AbstractContextManager[Any]:
    from cluster.connect import connected
    from cluster.local import local_ray

    return local_ray("auto", "auto", dashboard=False) if not address else connected(address)


if __name__ == "__main__":
    run(app)
