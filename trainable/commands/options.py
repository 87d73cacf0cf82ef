"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from trainable.printing import Format

DataFolder = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="A data set: a folder with splits such as train/images, or s3://bucket/folder."
    ),
]
SplitName = Annotated[str, typer.Option("--split", help="The labelled split.")]
CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--cache", help="Where decoded images are kept (default: $SCRIBBLE_SEARCH_CACHE, or ~/.cache/scribble-search)."
    ),
]
PluginFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        help="A Python file with networks, losses or recipes, which is executed; may be repeated.",
    ),
]
Output = Annotated[Format, typer.Option("--format", help="How to print on stdout.")]
