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


if __name__ == "__main__":
    run(app)
