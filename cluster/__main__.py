"""``python -m cluster``: the command line of the machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainable.commands import run
from trainable.errors import UserError
from trainable.printing import Format, print_rows, say

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)

Output = Annotated[Format, typer.Option("--format", help="How to print.")]


@app.callback()
def cluster() -> None:
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
    from cluster.deployment import copy_file, deployment_files, find_file

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
    from cluster.layout import layout, machines_of, stated

    if machine:
        there = machines_of(machine)
    else:
        from cluster.capacity import machines_at

        there = machines_at(address or None)
    measure = None if fold_trial is None else stated(fold_trial, card)
    rows = layout(there, _amount("--cpu", cpu), _amount("--gpu", gpu), measure)
    print_rows(rows, output)
    total = sum(row["fold_trials"] for row in rows)
    say(f"\n{total} fold trials at once on {len(rows)} machines")
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


if __name__ == "__main__":
    run(app)
