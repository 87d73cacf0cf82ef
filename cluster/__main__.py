"""``python -m cluster``: deployment files, capacity planning and health checks."""

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from trainable.errors import UserError
from trainable.exit_codes import WRONG, Completion, Version, run
from trainable.printing import Format, plural, print_csv, print_json, print_rows, print_table, progress_bar, say

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)

Output = Annotated[Format, typer.Option("--format", help="How to print.")]


@app.callback()
def cluster(version: Version = False, completion: Completion = False) -> None:
    """Start clusters, plan their capacity and check their nodes."""


@app.command()
def files(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A deployment file (default: all).")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Copy the file to this folder.")] = None,
    output: Output = Format.table,
) -> None:
    """List the deployment files, or copy one.

    Each file begins with three commands: start the cluster, run a search, stop the cluster. See docs/cluster.md.

    Example: python -m cluster files aws-p4d.yaml --out .
    """
    from cluster.deployment.deployment_files import copy_file, deployment_files, find_file

    if out is not None and name is None:
        raise UserError("--out needs the name of a file, as in python -m cluster files aws-p4d.yaml --out .")
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
        typer.Option("--machine", metavar="SPEC", help="Machines to plan for, as '4 x 96 cores + 8 A100'."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", envvar="RAY_ADDRESS", help="The Ray cluster to plan for: HOST:PORT, or auto."),
    ] = None,
    cpu: Annotated[
        str, typer.Option("--cpu", help="resources.cpu of the space: cores per fold trial, or auto.")
    ] = "auto",
    gpu: Annotated[
        str, typer.Option("--gpu", help="resources.gpu of the space: GPUs per fold trial, or auto.")
    ] = "auto",
    fold_trial: Annotated[
        float | None, typer.Option("--fold-trial", metavar="GIB", help="GPU memory per fold trial.")
    ] = None,
    card: Annotated[float, typer.Option("--card", metavar="GIB", help="Memory of a GPU.")] = 80.0,
    output: Output = Format.table,
) -> None:
    """Show how many fold trials fit on each machine.

    A launch measures the memory of a fold trial on each kind of GPU. Here --fold-trial states it; without it, each
    fold trial gets a whole GPU.

    Example: python -m cluster plan --machine "4 x 96 cores + 8 A100" --fold-trial 9.5 --card 80
    """
    from cluster.capacity.layout import layout, parse_machines, stated_footprint

    if machine:
        machines = parse_machines(machine)
    else:
        from cluster.capacity.capacity import machines_at

        machines = machines_at(address or None)
    measure = None if fold_trial is None else stated_footprint(fold_trial, card)
    rows = layout(machines, _amount("--cpu", cpu, zero=False), _amount("--gpu", gpu), measure)
    print_rows(rows, output)
    total = sum(row["fold_trials"] for row in rows)
    say(f"\n{plural(total, 'fold trial')} at once on {plural(len(rows), 'machine')}")
    if measure is None and gpu == "auto" and any(row["gpus"] for row in rows):
        say("each fold trial gets a whole GPU; state its memory with --fold-trial GIB to pack several on a GPU")


def _amount(option: str, value: str, zero: bool = True) -> float | str:
    if value == "auto":
        return value
    try:
        amount = float(value)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf") or not (amount or zero):
        raise UserError(f"{option} {value}: must be a number {'of at least' if zero else 'above'} 0, or auto")
    return amount


@app.command()
def doctor(
    address: Annotated[
        str | None, typer.Option("--address", help="The Ray cluster (default: RAY_ADDRESS, or this machine only).")
    ] = None,
    runs: Annotated[
        str, typer.Option("--runs", metavar="ROOT", help="The folder of all runs, or s3://bucket/prefix.")
    ] = "runs",
    data: Annotated[Path | None, typer.Option("--data", metavar="FOLDER", help="A data set to check.")] = None,
    patience: Annotated[float, typer.Option(min=1.0, help="Seconds to wait for each node.")] = 120.0,
    output: Output = Format.table,
) -> None:
    """Check every node of a cluster and list the problems.

    Exits with 2 if there are any. Checks GPUs and driver, package versions and code against this machine's, free disk
    space, read and write access to the folder of runs, the data, the clock, and the transfer speed of the object store.
    A launch sends the data to nodes that lack it; different data under the same path is a problem.

    Example: python -m cluster doctor --address 10.0.0.1:6379 --runs /shared/runs --data data/scribbles
    """
    from cluster.doctor.examine import examine
    from cluster.doctor.report import COLUMNS, document, node_rows, problem_rows

    if data is not None and not data.is_dir():
        raise UserError(f"--data {data}: no such folder on this machine")
    root = runs if "://" in runs else str(Path(runs).absolute())
    with _ray(address or os.environ.get("RAY_ADDRESS")), progress_bar("checking the nodes") as progress:
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
