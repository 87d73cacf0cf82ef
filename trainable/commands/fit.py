"""``python -m trainable fit``: train one fold of one config by hand, or segment its images one by one."""

from pathlib import Path
from typing import Annotated

import typer

from trainable.commands.options import CacheFolder, DataFolder, Output, PluginFiles, SplitName
from trainable.errors import UserError
from trainable.printing import Format

HeldOut = Annotated[int, typer.Option(min=0, help="Which fold is held out, from 0.")]
Folds = Annotated[int, typer.Option(min=2, help="The number of folds.")]
FoldSeed = Annotated[int, typer.Option(min=0, help="Seed of the assignment of images to folds.")]
FoldFolder = Annotated[
    Path | None, typer.Option(help="Folder of the fold; training resumes if it contains a checkpoint.")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A hyperparameter, as python -m trainable parameters lists them; may be repeated.",
    ),
]
Metric = Annotated[str, typer.Option(help="The metric for early stopping and the best weights.")]
Until = Annotated[int | None, typer.Option(min=1, help="Pause at this step.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Number of processes that augment images (default: measured).")
]
CheckpointSeconds = Annotated[
    float | None, typer.Option(min=0, help="Maximum seconds between checkpoints (default: 120).")
]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="Keep the probability maps of the held-out images.")
]
Validation = Annotated[str | None, typer.Option(help="A labelled split that the finished model is scored on too.")]


def fit(
    data: DataFolder,
    fold: HeldOut = 0,
    folds: Folds = 5,
    fold_seed: FoldSeed = 0,
    out: FoldFolder = None,
    assignments: Assignments = None,
    metric: Metric = "miou",
    until: Until = None,
    device: Device = "auto",
    workers: Workers = None,
    checkpoint_seconds: CheckpointSeconds = None,
    probabilities: Probabilities = False,
    split: SplitName = "train",
    validation: Validation = None,
    cache: CacheFolder = None,
    plugins: PluginFiles = None,
    output: Output = Format.table,
) -> None:
    """Train one fold of one config, without Ray.

    If a method is set, segments the images of the fold one by one. The same command resumes.

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
        checkpoint_seconds=120.0 if checkpoint_seconds is None else checkpoint_seconds,
        probabilities=probabilities,
        split=split,
        validation=validation,
        cache=cache,
        plugins=tuple(plugins or ()),
    )
    if METHOD in parse_assignments(list(request.assignments)):
        if plugins:
            raise UserError("--plugin: adds to networks, not to methods on single images")
        given = {"--cache": cache, "--workers": workers, "--checkpoint-seconds": checkpoint_seconds}
        if unused := [name for name, value in given.items() if value is not None]:
            raise UserError(f"{', '.join(unused)}: for the training of networks, not for methods on single images")
        from trainable.fit_images import fit_images

        raise typer.Exit(fit_images(request, output))
    from trainable.fit import fit_fold

    raise typer.Exit(fit_fold(request, output))
