"""The command that chooses post-processing."""

from typing import Annotated

import typer

from analysis.ensembles.mask_commands import Device, flips_named
from search.commands.options import RUNS, Output, Root, RunName
from trainable.printing import Format, digits, print_csv, print_json, print_table, progress_bar, say, talk


def refine(
    run: RunName,
    root: Root = RUNS,
    config: Annotated[str | None, typer.Option(help="A config other than the winner, by the start of its id.")] = None,
    top: Annotated[
        int | None,
        typer.Option(min=1, help="Choose for the average of the best K complete configs, as ensemble --top makes it."),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(help="A step not to try, such as crf, which takes longest; may be repeated.", metavar="STEP"),
    ] = None,
    tta: Annotated[
        str,
        typer.Option(metavar="none|flips", help="Choose for masks averaged over flips, as ensemble --tta makes them."),
    ] = "none",
    device: Device = "auto",
    output: Output = Format.table,
) -> None:
    """Choose post-processing of masks by cross-validation.

    Tries thresholds, components, holes, a dense CRF and scribbles. Everything is measured on images that neither the
    model nor the choice has seen. The best chain of steps is used by predict and export if its gain is certain enough;
    otherwise nothing changes. JSON is the content of refinement.json.

    Example: python -m analysis refine quickstart --tta flips
    """
    from analysis.tuning.refine import refine as choose
    from analysis.tuning.refine import rows, summary
    from search.run_storage.find_runs import find_run
    from search.runs.run_tables import read_run

    with talk.status("reading the run"):
        tables = read_run(find_run(run, root))
    with progress_bar("refining") as progress:
        found = choose(tables, config, device, progress, skip or (), flips_named(tta), top)
    tables.run.publish(*found.files)
    document = found.document
    if output is Format.json:
        print_json(document)
    elif output is Format.csv:
        print_csv(rows(found))
    else:
        averaged = " with flips" if tta == "flips" else ""
        what = "configs" if "+" in document["config"] else "config"
        title = (
            f"{what} {document['config']}: gain in {document['metric']}, from {digits(document['score'])}{averaged}, "
            "on images that the choice has not seen"
        )
        print_table(rows(found), title)
    for note in found.notes:
        say(f"note: {note}")
    say(summary(document))
    for path in found.files:
        say(f"{path} written")
