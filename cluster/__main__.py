"""``python -m cluster``: the command line of the machines."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from trainable.errors import UserError
from trainable.exit_codes import WRONG, Version, run
from trainable.printing import Format, plural, print_csv, print_json, print_rows, print_table, progress_bar, say

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)

Output = Annotated[Format, typer.Option("--format", help="How to print.")]


@app.callback()
def cluster(version: Version = False) -> None:
    """Start clusters, and know their machines."""


@app.command()
def files(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One of them (default: all).")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Copy it there, to be edited.")] = None,
    output: Output = Format.table,
) -> None:
    """List the files that start a cluster, what each is for and where it is; or copy one.

    Each begins with the three commands that use it: start, search, end. docs/cluster.md says which is for whom.

    Example: python -m cluster files aws-p4d.yaml --out .
    """
    from cluster.deployment.deployment_files import copy_file, deployment_files, find_file

    if out is not None and name is None:
        raise UserError("--out copies one file: say which, as in python -m cluster files aws-p4d.yaml --out .")
    found = deployment_files() if name is None else [find_file(name)]
    paths = [file.path if out is None else copy_file(file, out) for file in found]
    rows = [
        {"file": file.name, "for": file.purpose, "path": str(path)} for file, path in zip(found, paths, strict=True)
    ]
    print_rows(rows, output)
    if out is not None:
        say(f"\nNext: the three commands at the top of {paths[0]}")


@app.command()
def plan(
    machine: Annotated[
        list[str] | None,
        typer.Option("--machine", metavar="WORDS", help="Machines to plan for, as '4 x 96 cores + 8 A100'."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", envvar="RAY_ADDRESS", help="The Ray cluster to look at: HOST:PORT, or auto."),
    ] = None,
    cpu: Annotated[
        str, typer.Option("--cpu", help="resources.cpu of the space: cores of a fold trial, or auto.")
    ] = "auto",
    gpu: Annotated[
        str, typer.Option("--gpu", help="resources.gpu of the space: GPUs of a fold trial, or auto.")
    ] = "auto",
    fold_trial: Annotated[
        float | None, typer.Option("--fold-trial", metavar="GIB", help="GPU memory that a fold trial takes.")
    ] = None,
    card: Annotated[float, typer.Option("--card", metavar="GIB", help="Memory of a GPU.")] = 80.0,
    output: Output = Format.table,
) -> None:
    """Say how many fold trials would run on which machine, and with what; start nothing.

    A launch measures what a fold trial takes of each kind of GPU; here it is stated, or each gets a GPU of its own.

    Example: python -m cluster plan --machine "4 x 96 cores + 8 A100" --fold-trial 9.5 --card 80
    """
    from cluster.capacity.layout import layout, machines_of, stated

    if machine:
        there = machines_of(machine)
    else:
        from cluster.capacity.capacity import machines_at

        there = machines_at(address or None)
    measure = None if fold_trial is None else stated(fold_trial, card)
    rows = layout(there, _amount("--cpu", cpu), _amount("--gpu", gpu), measure)
    print_rows(rows, output)
    total = sum(row["fold_trials"] for row in rows)
    trials, machines = plural(total, "fold trial"), plural(len(rows), "machine")
    say(f"\n{trials} at once on {machines}")
    if measure is None and gpu == "auto" and any(row["gpus"] for row in rows):
        say("each has a GPU of its own, for nothing says what one takes: --fold-trial GIB would")


def _amount(option: str, said: str) -> float | str:
    if said == "auto":
        return said
    try:
        amount = float(said)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise UserError(f"{option} {said}: must be a number of at least 0, or auto")
    return amount


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
    from cluster.doctor.examine import examine
    from cluster.doctor.report import COLUMNS, document, node_rows, problem_rows

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
    say(f"\n{plural(len(nodes), 'node')}, {plural(len(problems), 'problem')}")
    raise typer.Exit(WRONG if problems else 0)


def _ray(address: str | None) -> AbstractContextManager[Any]:
    from cluster.connection.connect import connected
    from cluster.connection.local_ray import local_ray

    return local_ray(dashboard=False) if not address else connected(address)


if __name__ == "__main__":
    run(app)
