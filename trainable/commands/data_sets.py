"""``python -m trainable doctor``, ``synthesize`` and ``show``: check a data set, make one, look at one."""

from pathlib import Path
from typing import Annotated

import typer

from trainable.commands.options import CacheFolder, DataFolder, Output, SplitName
from trainable.errors import UserError
from trainable.printing import Format, say


def doctor(data: DataFolder, split: SplitName = "train", output: Output = Format.table) -> None:
    """Summarize a data set and list all of its problems. Exits with 2 if there are errors.

    Example: python -m trainable doctor data/scribbles --format json
    """
    from trainable.checks.diagnosis import PROBLEM_COLUMNS, as_document, print_diagnosis, problem_rows
    from trainable.checks.doctor import examine
    from trainable.printing import print_csv, print_json, progress_bar
    from trainable.storage.cached_copies import data_folder

    folder = data_folder(data)
    with progress_bar("reading images") as progress:
        diagnosis = examine(folder, split, progress)
    if output is Format.json:
        print_json(as_document(diagnosis))
    elif output is Format.csv:
        print_csv(problem_rows(diagnosis), PROBLEM_COLUMNS)
    else:
        print_diagnosis(diagnosis)
    raise typer.Exit(2 if diagnosis.errors else 0)


def synthesize(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to create; must be new or empty.")],
    images: Annotated[int, typer.Option(help="Labelled images, in train/.")] = 40,
    test: Annotated[int, typer.Option(help="Images without truth, in test1/.")] = 0,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the images.")] = "500x375",
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    classes: Annotated[
        int, typer.Option(help="Number of classes, 2 to 15 with the background; more than 2 touch and nest.")
    ] = 2,
    volumes: Annotated[
        int | None, typer.Option(help="Divide the labelled images into this many volumes of consecutive slices.")
    ] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Grey images; needs more than 2 classes or volumes.")] = False,
) -> None:
    """Make a synthetic data set in the format of a real one.

    Example: python -m trainable synthesize data/demo --images 40 --test 8 --size 160x128

    Example: python -m trainable synthesize data/hearts --images 60 --classes 4 --volumes 6 --grey --size 160x128
    """
    from trainable.data.synthetic.synthesize import synthesize as make
    from trainable.printing import progress_bar

    try:
        width, height = (int(part) for part in size.lower().split("x"))
    except ValueError:
        raise UserError(f"--size {size!r}: write WIDTHxHEIGHT, as in 500x375") from None
    with progress_bar("drawing images") as progress:
        make(
            folder,
            images,
            test,
            width,
            height,
            seed,
            lambda done: progress(done, images + test),
            classes=classes,
            volumes=volumes,
            grey=grey,
        )
    say(f"{folder}: {images} labelled images" + (f" and {test} without truth" if test else ""))
    say(f"Next: python -m trainable doctor {folder}")


def show(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The PNG file to write.")] = Path("samples.png"),
    count: Annotated[int, typer.Option(min=1, max=50, help="How many images.")] = 4,
    size: Annotated[str, typer.Option(help="Working size: auto or WIDTHxHEIGHT.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Selects images and augmentation.")] = 0,
    split: SplitName = "train",
    cache: CacheFolder = None,
) -> None:
    """Draw images with scribbles and masks under each augmentation.

    Example: python -m trainable show data/scribbles --out samples.png
    """
    from trainable.augmentation.preview import save_samples
    from trainable.config import make_config
    from trainable.data.decoded_images import open_data
    from trainable.printing import progress_bar
    from trainable.storage.cached_copies import data_folder

    working = make_config({"size": size}).size
    folder = data_folder(data)
    with progress_bar("decoding images") as progress:
        opened = open_data(folder, working, split, cache, progress)
    save_samples(opened, out, count, seed)
    say(f"{out}: {min(count, len(opened.stems))} images, two epochs of each augmentation")
