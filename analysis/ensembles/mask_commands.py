"""Commands that predict masks and score them, without a run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from search.commands.options import Output
from trainable.data.task import check_classes
from trainable.errors import UserError
from trainable.printing import Format, plural, print_csv, print_json, print_table, progress_bar, say

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Refine = Annotated[
    bool, typer.Option("--refine/--no-refine", help="Apply the post-processing that python -m analysis refine chose.")
]
EnsembleFile = Annotated[Path, typer.Argument(metavar="ENSEMBLE", help="An ensemble's folder or file.")]
Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGES...", help="A split, a folder of images, or single files.")
]
MaskFolder = Annotated[Path, typer.Option(help="Folder of the masks, PNG files with the stems of the images.")]
Scribbles = Annotated[Path | None, typer.Option(help="Folder of the scribbles (default: beside the images).")]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="Also write probabilities as 16-bit PNG; 65535 is 1.")
]
RespectScribbles = Annotated[bool, typer.Option("--respect-scribbles", help="Give pixels under a scribble its label.")]
Flips = Annotated[str | None, typer.Option(help="none or flips (default: as the ensemble was built).")]
Batch = Annotated[int, typer.Option(min=1, help="Images of one size per batch.")]
Force = Annotated[bool, typer.Option("--force", help="Write into the folder of an ensemble or a run.")]
SOME_FAILED = 1


def predict(
    ensemble: EnsembleFile,
    images: Images,
    out: MaskFolder,
    scribbles: Scribbles = None,
    probabilities: Probabilities = False,
    respect_scribbles: RespectScribbles = False,
    tta: Flips = None,
    batch: Batch = 8,
    device: Device = "auto",
    refine: Refine = True,
    force: Force = False,
) -> None:
    """Predict masks at the original size of the images.

    The same command resumes after an interruption.

    Example: python -m analysis predict runs/quickstart/analysis/ensemble runs/quickstart-data/test1 --out masks
    """
    from analysis.ensembles.predict import Request
    from analysis.ensembles.predict import predict as run_prediction
    from analysis.refinement.chain import words

    request = Request(
        ensemble,
        tuple(images),
        scribbles,
        out,
        probabilities,
        respect_scribbles,
        flips_named(tta),
        batch,
        device,
        refine,
        force,
    )
    with progress_bar("predicting") as progress:
        done = run_prediction(request, progress)
    _tell_problems(done.problems)
    kept = f", {done.kept} existed already" if done.kept else ""
    say(f"{plural(done.written, 'mask')} written to {out}{kept}; {plural(len(done.problems), 'image')} left out")
    if done.refinement:
        say(f"refined by {words(done.refinement)}; --no-refine leaves it out")
    if done.seen:
        say(f"{len(done.seen)} of these images were trained on; masks of new images will be worse")
    if done.unrecognised:
        say(f"note: {done.unrecognised}")
    raise typer.Exit(SOME_FAILED if done.problems else 0)


def evaluate(
    masks: Annotated[Path, typer.Argument(metavar="MASKS", help="A folder of predicted masks.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="A folder of true masks, or a split that has one.")],
    worst: Annotated[int, typer.Option(min=0, help="Number of images in the table, the worst first.")] = 10,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="The classes; with three or more, 255 in a true mask is ignored (default: those of the dataset.yaml).",
        ),
    ] = None,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine/--no-refine",
            help="--no-refine scores the masks as they were before, from predict's probabilities.",
        ),
    ] = True,
    output: Output = Format.table,
) -> None:
    """Score predicted masks.

    Scores all images together, each volume, image and class. Masks and truths are matched by stem.
    JSON contains all scores, CSV those of images.

    Example: python -m analysis evaluate masks data/scribbles/train/ground_truth
    """
    from analysis.ensembles.evaluate import evaluate_masks
    from analysis.refinement.chain import as_rows, words

    names = check_classes([name.strip() for name in classes.split(",")]) if classes else ()
    with progress_bar("scoring") as progress:
        found = evaluate_masks(masks, truth, progress, names, refine)
    rows = [each.row() for each in found.images]
    if output is Format.json:
        problems = [{"file": str(each.file), "problem": each.problem} for each in found.problems]
        more: dict[str, Any] = {} if found.task.binary else {"confusion": found.confusion()}
        more |= {"per_volume": found.per_volume()} if found.volumes else {}
        more |= {"refinement": as_rows(found.refinement)} if found.refinement else {}
        more |= {"notes": found.notes} if found.notes else {}
        print_json({**found.pooled(), **more, "problems": problems, "per_image": rows})
    elif output is Format.csv:
        print_csv(rows)
    elif found.task.binary:
        print_table([{"image": f"all {len(rows)}", **_without(found.pooled(), "images")}, *rows[:worst]])
        _print_volumes(found, worst)
    else:
        _print_classes(found, rows[:worst])
    _tell_problems(found.problems)
    for note in found.notes:
        say(f"note: {note}")
    if found.refinement:
        say(f"the masks are refined by {words(found.refinement)}")
    raise typer.Exit(SOME_FAILED if found.problems else 0)


def flips_named(name: str | None) -> Any:
    if name not in (None, "none", "flips"):
        raise UserError(f"--tta {name!r}: allowed are none and flips")
    return name


def _tell_problems(problems: Any) -> None:
    for problem in problems:
        say(f"{problem}")


def _print_classes(found: Any, rows: list[dict[str, Any]]) -> None:
    """Several classes do not fit one table: their scores, what is confused, volumes and images."""
    pooled, task = found.pooled(), found.task
    columns = {"dice": "dice", "iou": "iou", "by volume": "dice_volume", "boundary F1": "boundary_f1"}
    kept = {title: name for title, name in columns.items() if name in pooled or name == "iou"}
    by_class = [
        {"class": name, **{title: pooled.get(f"{metric}_{name}") for title, metric in kept.items()}}
        for name in task.classes  # the first has no Dice, but its IoU is part of the mean
    ]
    mean = {title: pooled["miou" if metric == "iou" else metric] for title, metric in kept.items()}
    means = "by volume and boundary F1 are means over volumes and" if found.volumes else "boundary F1 is a mean over"
    title = f"{plural(pooled['images'], 'image')}; dice and iou are of all pixels together, {means} images"
    print_table([{"class": "mean", **mean}, *by_class], title)
    print_table(found.confusion(), "share of the pixels of a true class (row) that is predicted as each class")
    _print_volumes(found, len(rows))
    names = [f"dice_{name}" for name in task.foreground]
    shown = [{"image": row["image"], "dice": row["dice"], **{name: row[name] for name in names}} for row in rows]
    if shown:
        print_table(shown, "images, the worst first")


def _print_volumes(found: Any, worst: int) -> None:
    """Of two classes, the only one with a Dice has no column of its own."""
    rows = [_without(row, found.task.classes[1]) if found.task.binary else row for row in found.per_volume()[:worst]]
    if rows:
        print_table(rows, "Dice by volume, the worst first")


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}
