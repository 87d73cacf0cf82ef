"""``python -m spaces``: check a space file, show its configs, list the shipped spaces and every key of a space file."""

import random
import shlex
from typing import Annotated

import typer

from spaces.load import load_space
from spaces.schema.reference import reference as keys
from spaces.shipped import shipped_spaces
from spaces.summary import config_count, problem_rows, rounded_rows, rows, summary
from spaces.yaml_file.problems import SpaceError
from trainable.exit_codes import WRONG, Completion, Version, run
from trainable.printing import Format, plural, print_csv, print_json, print_rows, print_table, say

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def spaces(version: Version = False, completion: Completion = False) -> None:
    """Check a space file, show its configs, list the shipped spaces and every key of a space file."""


SpaceFile = Annotated[str, typer.Argument(metavar="SPACE", help="A space file, or the name of a shipped space.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override any key of the space; may be repeated."),
]
Output = Annotated[Format, typer.Option("--format", help="Format of the output on stdout.")]
COLUMNS = ("place", "key", "value", "problem")


@app.command()
def check(space: SpaceFile, assignments: Overrides = None, output: Output = Format.table) -> None:
    """Summarize a space, or list every problem in it (exit code 2).

    Example: python -m spaces check full_grid --set data=data/mine --set scheduler.keep=0.5
    """
    try:
        read = load_space(space, assignments or ())
    except SpaceError as error:
        if output is Format.table:
            raise
        problems = problem_rows(error.problems)
        if output is Format.csv:
            print_csv(problems, COLUMNS)
        else:
            print_json({"problems": problems})
        raise typer.Exit(WRONG) from None
    if output is Format.json:
        print_json({"problems": [], "configs": read.size, "space": read.canonical()})
        return
    if output is Format.csv:
        print_csv([], COLUMNS)
        return
    for label, text in summary(read):
        print(f"{label:<12}{text}")
    options = [word for assignment in assignments or () for word in ("--set", assignment)]
    say(f"\nNext: python -m search launch {shlex.join([space, *options])}")


@app.command()
def show(
    space: SpaceFile,
    assignments: Overrides = None,
    output: Output = Format.table,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many (default: all, or 10 samples).")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples, if configs cannot be listed.")] = 0,
) -> None:
    """List every config of a space, or samples if it has a range.

    Example: python -m spaces show full_grid --format csv
    """
    read = load_space(space, assignments or ())
    if read.enumerable:
        points = list(read.configs()[:limit])
        total = plural(read.size or 0, "config")
        message = f"{len(points)} of {total}" if len(points) < (read.size or 0) else total
    else:
        rng = random.Random(seed)
        points = [read.sample(rng) for _ in range(limit or 10)]
        drawn = plural(len(points), "config")
        message = f"{drawn} drawn with seed {seed}; the run will try {config_count(read)}"
    if output is Format.json:
        print_json([{"id": p.id, "values": dict(p.values), "config": p.config.model_dump(mode="json")} for p in points])
    elif output is Format.csv:
        print_csv(rows(points))
    else:
        print_table(rounded_rows(rows(points)))
    say(message)


@app.command(name="list")
def list_spaces(output: Output = Format.table) -> None:
    """List the shipped spaces, whose names can replace a path.

    Example: python -m spaces list
    """
    table = []
    for name, path in shipped_spaces().items():
        space = load_space(path)
        searched = ", ".join(space.parameters)
        table.append({"name": name, "configs": config_count(space), "searched": searched, "file": str(path)})
    if output is Format.table:
        print_table([{key: value for key, value in row.items() if key != "file"} for row in table])
    else:
        print_rows(table, output)


@app.command()
def reference(output: Output = Format.table) -> None:
    """List every key of a space file except hyperparameters.

    `python -m trainable parameters` lists those.

    Example: python -m spaces reference --format json
    """
    print_rows(keys(), output)


if __name__ == "__main__":
    run(app)
