"""``python -m trainable``: check a data set, make or import one, list what a config may hold, train one fold."""

from pathlib import Path
from typing import Annotated

import typer

from trainable.errors import UserError
from trainable.exit_codes import Completion, Version, run
from trainable.printing import Format, say

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def trainable(version: Version = False, completion: Completion = False) -> None:
    """Check a data set, make or import one, preview its augmentation, train one fold of one config."""


DataFolder = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="A data set: a folder with splits such as train/images, or s3://bucket/folder."
    ),
]
SplitName = Annotated[str, typer.Option("--split", help="The split that has ground truth.")]
CacheFolder = Annotated[
    Path | None, typer.Option("--cache", help="Where decoded images are kept (default: SCRIBBLE_SEARCH_CACHE).")
]
PluginFiles = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="FILE", help="A Python file with networks or losses; executed; may be repeated."),
]
Output = Annotated[Format, typer.Option("--format", help="How to print on stdout.")]


@app.command()
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


@app.command()
def synthesize(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to create; must be new or empty.")],
    images: Annotated[int, typer.Option(help="Labelled images, in train/.")] = 40,
    test: Annotated[int, typer.Option(help="Images without truth, in test1/.")] = 0,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the images.")] = "500x375",
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    classes: Annotated[
        int, typer.Option(help="2 to 15, with the background; more than 2 draw structures that touch and nest.")
    ] = 2,
    volumes: Annotated[
        int | None, typer.Option(help="Divide the labelled images into this many volumes of consecutive slices.")
    ] = None,
    grey: Annotated[
        bool, typer.Option("--grey", help="Grey PNG images; with more than 2 classes or with volumes.")
    ] = False,
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


@app.command("import")
def import_(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="acdc-h5, nifti or voc.")],
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The folder with data in that format.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The data set to create or to add a split to.")],
    split: Annotated[str, typer.Option(help="The split that is written.")] = "train",
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...|FILE",
            help="2 to 15 classes by value, the background first, or a text file with one per line. acdc-h5: "
            "background,RV,MYO,LV by default. voc: the classes to keep; others become background.",
        ),
    ] = None,
    scribbles: Annotated[
        str | None,
        typer.Option(help="nifti: a folder or pattern (default: scribbles/). voc: a folder of PNGs, 255 = unlabelled."),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN", help="nifti: a folder, or a pattern such as images/{id}_DE.nii.gz (default: images/)."
        ),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="nifti: the masks, as for --images (default: labels/).")
    ] = None,
    pixel_size: Annotated[
        float | None, typer.Option(metavar="MM", help="nifti: resample slices to square pixels of this size.")
    ] = None,
    crop: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="nifti: crop or pad slices around their centre.")
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH", help="nifti: percentiles of a volume that become black and white (default: 0.5,99.5)."
        ),
    ] = None,
    axis: Annotated[int | None, typer.Option(min=0, max=2, help="nifti: the slice axis (default: 2).")] = None,
    unlabelled: Annotated[
        int | None,
        typer.Option(help="nifti: the value of unlabelled pixels in scribbles (default: the number of classes)."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="nifti: the part of an id that names its group (default: the whole id)."),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="voc: the names of mask values, one per line (default: VOC's 21)."),
    ] = None,
    image_set: Annotated[
        str | None, typer.Option(help="voc: the list in ImageSets/Segmentation (default: the name of the split).")
    ] = None,
) -> None:
    """Turn data of another format into a split of a data set. After an interruption, the same command continues.

    NIfTI volumes are cut along the slice axis, and each slice is transposed: the first of the two other axes
    of the array goes right, the second one down. Labels belong to an image if their name is the image's, optionally
    followed by something like `_manual`, or if both have the same {id}.

    Example: python -m trainable import acdc-h5 ACDC data/acdc
    """
    from trainable.data.importers.command import Request, import_data

    import_data(
        Request(
            form=form,
            source=source,
            folder=folder,
            split=split,
            classes=classes,
            images=images,
            labels=labels,
            scribbles=scribbles,
            pixel_size=pixel_size,
            crop=crop,
            window=window,
            axis=axis,
            unlabelled=unlabelled,
            group=group,
            names=names,
            image_set=image_set,
        )
    )


@app.command()
def show(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The PNG file to write.")] = Path("samples.png"),
    count: Annotated[int, typer.Option(min=1, max=50, help="How many images.")] = 4,
    size: Annotated[str, typer.Option(help="Working size: auto or WIDTHxHEIGHT.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Selects images and augmentation.")] = 0,
    split: SplitName = "train",
    cache: CacheFolder = None,
) -> None:
    """Draw a few images with their scribbles and masks, unchanged and at each augmentation level.

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


@app.command()
def parameters(
    methods: Annotated[
        bool, typer.Option("--methods", help="Those of methods that segment single images (trainable: image).")
    ] = False,
    plugins: PluginFiles = None,
    output: Output = Format.table,
) -> None:
    """List every hyperparameter with its default and allowed values.

    Example: python -m trainable parameters --format json
    """
    from trainable.config import ImageConfig, describe, extended, plugins_of
    from trainable.printing import print_rows

    if methods and plugins:
        raise UserError("--plugin: adds to networks, not to methods on single images")
    print_rows(describe(ImageConfig if methods else extended(plugins_of(plugins or []))), output)


@app.command()
def networks(plugins: PluginFiles = None, output: Output = Format.table) -> None:
    """List every network: parameters in millions at defaults, its own hyperparameters, stride, ONNX export.

    Images whose sides are no multiples of the stride are padded by reflection, and the prediction is cropped back.

    Example: python -m trainable networks --format csv
    """
    from trainable.networks.listing import network_rows
    from trainable.printing import print_rows

    print_rows(network_rows(plugins or []), output)


@app.command()
def trust(
    plugins: Annotated[list[str], typer.Argument(metavar="FILE...", help="Plugins: Python files.")],
    output: Output = Format.table,
) -> None:
    """Allow to execute plugins on this machine, for runs and models that come from another one, and list what they add.

    A plugin is code that can do whatever you can: read it first. Naming it in your own space or with --plugin allows
    it as well. A file that has changed is another plugin.

    Example: python -m trainable trust runs/first/my_parts.py
    """
    from trainable.config import extended, plugins_of
    from trainable.config.plugins.listing import plugin_rows
    from trainable.printing import plural, print_rows

    named = plugins_of(plugins)
    extended(named)
    print_rows(plugin_rows(named), output)
    say(f"{plural(len(named), 'plugin')} may be executed on this machine: {', '.join(map(str, named))}")


@app.command()
def fit(
    data: DataFolder,
    fold: Annotated[int, typer.Option(min=0, help="Which fold is held out, from 0.")] = 0,
    folds: Annotated[int, typer.Option(min=2, help="The number of folds.")] = 5,
    fold_seed: Annotated[int, typer.Option(min=0, help="Seed of the assignment of images to folds.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the fold; training resumes if it contains a checkpoint.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A hyperparameter (see: parameters); may be repeated."),
    ] = None,
    metric: Annotated[str, typer.Option(help="The metric for early stopping and the best weights.")] = "miou",
    until: Annotated[int | None, typer.Option(min=1, help="Pause at this step.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that augment (default: measured).")] = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Maximum seconds between checkpoints.")] = 120.0,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Keep the probability maps of the held-out images.")
    ] = False,
    split: SplitName = "train",
    validation: Annotated[
        str | None, typer.Option(help="A labelled split that the finished model is scored on too.")
    ] = None,
    cache: CacheFolder = None,
    plugins: PluginFiles = None,
    output: Output = Format.table,
) -> None:
    """Train one fold of one config, or segment its images one by one if a method is set. The same command resumes.

    Example: python -m trainable fit data/scribbles --fold 0 --set loss=dice --set batch_size=12

    Example: python -m trainable fit data/scribbles --fold 0 --set method=grabcut
    """
    from trainable.config import METHOD, parse_assignments
    from trainable.fit_session import Request
    from trainable.storage.cached_copies import data_folder

    request = Request(
        data=data_folder(data),
        fold=fold,
        folds=folds,
        fold_seed=fold_seed,
        out=out,
        assignments=tuple(assignments or ()),
        metric=metric,
        until=until,
        device=device,
        workers=workers,
        checkpoint_seconds=checkpoint_seconds,
        probabilities=probabilities,
        split=split,
        validation=validation,
        cache=cache,
        plugins=tuple(plugins or ()),
    )
    if METHOD in parse_assignments(list(request.assignments)):
        if plugins:
            raise UserError("--plugin: adds to networks, not to methods on single images")
        from trainable.fit_images import fit_images

        raise typer.Exit(fit_images(request, output))
    from trainable.fit import fit_fold

    raise typer.Exit(fit_fold(request, output))


if __name__ == "__main__":
    run(app)
