"""Commands that make masks and score them; they need no run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from search.commands.options import Output
from trainable.errors import UserError
from trainable.printing import Format, print_csv, print_json, print_table, progress_bar, say

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
SOME_FAILED = 1


def predict(
    ensemble: Annotated[Path, typer.Argument(metavar="ENSEMBLE", help="An ensemble's folder or file.")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES...", help="A split, a folder of images, or single files.")
    ],
    out: Annotated[Path, typer.Option(help="Where the masks go, as PNG with the images' stems.")],
    scribbles: Annotated[
        Path | None, typer.Option(help="The folder of the scribbles; by default the one beside the images.")
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also 16-bit PNGs of the probability, 65535 being 1.")
    ] = False,
    respect_scribbles: Annotated[
        bool, typer.Option("--respect-scribbles", help="Pixels under a scribble get its label.")
    ] = False,
    tta: Annotated[str | None, typer.Option(help="none or flips; by default what the ensemble was made with.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images of one size that go through at once.")] = 8,
    device: Device = "auto",
) -> None:
    """Masks at the images' own size; the same command goes on where it was stopped.

    Example: python -m analysis predict runs/quickstart/analysis/ensemble runs/quickstart-data/test1 --out masks
    """
    from analysis.ensembles.predict import Request
    from analysis.ensembles.predict import predict as run_prediction

    request = Request(
        ensemble, tuple(images), scribbles, out, probabilities, respect_scribbles, flips_named(tta), batch, device
    )
    with progress_bar("predicting") as progress:
        done = run_prediction(request, progress)
    _tell_problems(done.problems)
    kept = f", {done.kept} were there already" if done.kept else ""
    say(f"{done.written} masks written to {out}{kept}; {len(done.problems)} images left out")
    if done.seen:
        say(f"{len(done.seen)} of these images were trained on: their masks look better than those of new images will")
    raise typer.Exit(SOME_FAILED if done.problems else 0)


def evaluate(
    masks: Annotated[Path, typer.Argument(metavar="MASKS", help="A folder of predicted masks.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="A folder of true masks, or a split that has one.")],
    worst: Annotated[int, typer.Option(min=0, help="How many of the worst images the table shows.")] = 10,
    output: Output = Format.table,
) -> None:
    """Scores of masks, pooled and for each image, the worst first.

    Masks and truths belong together by their stem. JSON holds the pooled scores and every image's; CSV every image's.

    Example: python -m analysis evaluate masks data/scribbles/train/ground_truth
    """
    from analysis.ensembles.evaluate import evaluate_masks

    with progress_bar("scoring") as progress:
        found = evaluate_masks(masks, truth, progress)
    rows = [each.row() for each in found.images]
    if output is Format.json:
        problems = [{"file": str(each.file), "problem": each.problem} for each in found.problems]
        print_json({**found.pooled(), "problems": problems, "per_image": rows})
    elif output is Format.csv:
        print_csv(rows)
    else:
        print_table([{"image": f"all {len(rows)}, pooled", **_without(found.pooled(), "images")}, *rows[:worst]])
    _tell_problems(found.problems)
    raise typer.Exit(SOME_FAILED if found.problems else 0)


def flips_named(name: str | None) -> Any:
    if name not in (None, "none", "flips"):
        raise UserError(f"--tta {name!r}: allowed are none and flips")
    return name


def _tell_problems(problems: Any) -> None:
    for problem in problems:
        say(f"{problem}")


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}
