"""``python -m analysis``: the command line of the analysis."""

from pathlib import Path
from typing import Annotated, Any

import typer

from analysis.ensembles import mask_commands
from analysis.ensembles.mask_commands import Device
from analysis.live.command import serve
from analysis.tuning.command import refine
from search.commands.options import RUNS, Output, Root, RunName
from trainable.exit_codes import Completion, Version
from trainable.exit_codes import run as run_program
from trainable.printing import Format, plural, print_csv, print_json, print_rows, print_table, say, talk, value_text

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def analysis(version: Version = False, completion: Completion = False) -> None:
    """Analyse a run: winner, comparisons, report, ensemble, export."""


@app.command()
def best(
    run: RunName,
    root: Root = RUNS,
    output: Output = Format.table,
    details: Annotated[bool, typer.Option("--details", help="Also list why configs are incomplete.")] = False,
) -> None:
    """Show the winner, and how certain it is.

    Also shows the configs that cannot be distinguished from the winner, and what the others lack.

    JSON is the content of selection.json; CSV has a row per config, best first.

    Example: python -m analysis best quickstart
    """
    from analysis.answer.document import document, summary_rows
    from analysis.answer.published import published_figures
    from analysis.answer.published import rows as published_rows
    from analysis.answer.selection import select
    from analysis.answer.summary_text import details as incomplete
    from analysis.answer.summary_text import lines, table
    from search.run_storage.find_runs import find_run
    from search.runs.run_tables import read_run

    with talk.status("reading the run"):
        tables = read_run(find_run(run, root))
        selection = select(tables)
    if output is Format.json:
        print_json(document(tables, selection))
    elif output is Format.csv:
        print_csv(summary_rows(tables, selection))
    else:
        for line in lines(tables, selection):
            print(line)
        print_table(table(tables, selection), droppable=tables.parameters)
        for line in incomplete(tables, selection) if details else ():
            print(line)
        if figures := published_figures(tables):
            print_table(published_rows(figures), "published figures beside ours")
    for note in selection.notes:
        say(f"note: {note}")
    if selection.winner is not None:
        say(f"Next: python -m analysis ensemble {tables.run.address}")


@app.command()
def report(
    run: RunName,
    root: Root = RUNS,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to (default: analysis/ in the run's folder).")
    ] = None,
    png: Annotated[
        Path | None, typer.Option(help="Also write every figure as PNG to this folder (needs Chromium).")
    ] = None,
) -> None:
    """Write a self-contained HTML report.

    It has summary.csv and selection.json beside it. The run may still be running.

    Example: python -m analysis report quickstart
    """
    from analysis.answer.selection import select
    from analysis.report.write import REPORT, SELECTION, SUMMARY, following, write_report
    from search.run_storage.find_runs import find_run
    from search.runs.run_tables import read_run

    with talk.status("reading the run"):
        tables = read_run(find_run(run, root))
        selection = select(tables)
    with talk.status("drawing"):
        path, sections = write_report(tables, selection, out)
        tables.run.publish(*(path.with_name(name) for name in (REPORT, SELECTION, SUMMARY)))
    if png is not None:
        from analysis.report.png import write_pngs

        figures = [figure for each in sections for figure in each.figures]
        with talk.status("rendering"):
            write_pngs(path, [figure.name for figure in figures], png)
        say(f"{plural(len(figures), 'figure')} written to {png}")
    for note in selection.notes:
        say(f"note: {note}")
    print(path)
    say(f"Next: {following(tables, selection)}")


@app.command()
def ensemble(
    run: RunName,
    root: Root = RUNS,
    config: Annotated[str | None, typer.Option(help="A config other than the winner, by the start of its id.")] = None,
    top: Annotated[int | None, typer.Option(min=1, help="The best K complete configs instead of the winner.")] = None,
    tta: Annotated[str, typer.Option(help="none, or flips: average predictions over four flips.")] = "none",
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to (default: analysis/ensemble in the run's folder).")
    ] = None,
    output: Output = Format.table,
) -> None:
    """Average the fold models of the winner into one model.

    Each member is scored on the fold that it was not trained on, at the original size. Its weights were selected on
    the same images, so these scores are slightly optimistic. The ensemble has seen every labelled image, so only new
    images can measure its quality.

    Example: python -m analysis ensemble quickstart --tta flips
    """
    from analysis.answer.score_basis import scored_on_scribbles
    from analysis.ensembles.assemble import assemble, chosen
    from analysis.ensembles.fingerprints import unrecognised
    from search.run_storage.find_runs import find_run
    from search.runs.run_tables import read_run
    from trainable.objectives.metrics import main_metrics

    flips = mask_commands.flips_named(tta)
    with talk.status("reading the run"):
        tables = read_run(find_run(run, root))
        folder, manifest = assemble(tables.run, chosen(tables, config, top), flips, out)
        tables.run.publish(folder)
    rows = [{"config": each["config"], "fold": each["fold"], **each["out_of_fold"]} for each in manifest["members"]]
    basis = scored_on_scribbles(tables)
    if output is Format.json:
        print_json(manifest)
    elif output is Format.csv:
        print_csv(rows)
    else:
        names = main_metrics(tables.task, bool(tables.facts.get("volumes")), tables.metric)
        shown = [{name: row[name] for name in ("config", "fold", *names)} for row in rows]
        title = f"out-of-fold scores of the members{', of scribbled pixels only' if basis else ''}"
        print_table(shown, title)
    several = len(manifest.get("classes", ())) > 2
    how = "each pixel has its most probable class" if several else f"threshold {manifest['tau']:g}"
    methods = "trainable" in manifest
    made_of = f"{plural(len(manifest['configs']), 'method')} without weights" if methods else plural(len(rows), "model")
    say(f"{folder}: {made_of}, averaged as probability maps, {how}")
    if note := unrecognised(manifest):
        say(f"note: {note}")
    say(f"Next: python -m analysis predict {folder} IMAGES --out masks")


app.command()(refine)
app.command()(mask_commands.predict)


@app.command()
def compare(
    run: RunName,
    first: Annotated[str, typer.Argument(metavar="A", help="A config by the start of its id, or winner or default.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    root: Root = RUNS,
    out: Annotated[
        Path | None, typer.Option(help="The picture (default: analysis/compare-A-B.png in the run's folder).")
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="Number of images in the picture and the table.")] = 8,
    device: Device = "auto",
    output: Output = Format.table,
) -> None:
    """Compare two configs.

    Shows parameters, folds, images, and a picture of the images that differ most. Images are predicted by the best
    weights of the fold that held them out. CSV has a row per image, the largest difference first.

    Example: python -m analysis compare quickstart winner default
    """
    from analysis.answer.comparison import (
        compare_configs,
        document,
        fold_rows,
        image_metric,
        image_rows,
        lines,
        volume_rows,
    )
    from search.run_storage.find_runs import find_run
    from search.runs.run_tables import read_run

    with talk.status("reading the run"):
        tables = read_run(find_run(run, root))
        compared = compare_configs(tables, first, second)
    if output is Format.json:
        print_json(document(tables, compared))
    elif output is Format.csv:
        print_csv(image_rows(compared), ("stem", "fold", "a", "b", "difference"))
    else:
        for line in lines(tables, compared):
            print(line)
        print_table(fold_rows(compared), f"{tables.metric} on each fold")
        for unit, rows in (("volumes", volume_rows(compared)), ("images", image_rows(compared))):
            if rows and worst:
                print_table(rows[:worst], f"{unit} that differ most, by {image_metric(tables)}")
    for note in compared.notes:
        say(f"note: {note}")
    if worst:
        _draw(tables, compared, worst, out, device)


app.command()(mask_commands.evaluate)
app.command()(serve)


@app.command()
def export(
    run: RunName,
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    root: Root = RUNS,
    config: Annotated[str | None, typer.Option(help="A config other than the winner, by the start of its id.")] = None,
    onnx: Annotated[bool, typer.Option("--onnx/--no-onnx", help="Also write the ensemble as ONNX.")] = True,
    refine: mask_commands.Refine = True,
    force: Annotated[bool, typer.Option("--force", help="Replace the files of an earlier export.")] = False,
    output: Output = Format.table,
) -> None:
    """Write a folder to retrain the winner and predict with it.

    Example: python -m analysis export quickstart --out winner
    """
    from analysis.exports.export import export as write_export
    from search.run_storage.find_runs import find_run
    from search.runs.run_tables import read_run

    with talk.status("exporting"):
        facts = write_export(read_run(find_run(run, root)), config, out, onnx, refine, force)
    if output is Format.json:
        print_json(facts)
    else:
        print_rows([{"fact": key, "is": value_text(value)} for key, value in facts.items()], output)
    if "refinement" in facts:
        say("predict refines its masks as refinement.json says; none of it is inside ensemble.onnx")
    say(f"{out}: export of config {facts['config']}; {out}/README.md describes its use")


def _draw(tables: Any, compared: Any, worst: int, out: Path | None, device: str) -> None:
    """Write the picture if data and models are on this machine."""
    from analysis.answer.disagreements import NoPictures, draw_disagreements

    path = out or tables.run.folder / "analysis" / f"compare-{compared.config}-{compared.other}.png"
    try:
        with talk.status("drawing"):
            count = draw_disagreements(tables, compared, worst, path, device)
            tables.run.publish(path)
    except NoPictures as error:
        say(f"no pictures: {error}")
    else:
        say(f"{path}: {plural(count, 'image')}, those on which they differ most")


if __name__ == "__main__":
    run_program(app)
