"""What a format finds in its source: the samples to write, and how to read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainable.data.dataset import SCRIBBLES, TRUTH, BadFile, Pixels
from trainable.data.importers.problems import raise_problems
from trainable.errors import UserError
from trainable.printing import plural


@dataclass(frozen=True)
class Options:
    """What the user asks for; None is an option that was not given."""

    classes: tuple[str, ...]
    split: str
    images: str | None = None
    labels: str | None = None
    scribbles: str | None = None
    pixel_size: float | None = None
    crop: tuple[int, int] | None = None
    window: tuple[float, float] | None = None
    axis: int | None = None
    unlabelled: int | None = None
    group: str | None = None
    names: Path | None = None
    image_set: str | None = None


@dataclass(frozen=True)
class Importer:
    """A format: its own options, its default classes, and the function that lists a source's samples.

    ``ignore_label`` is the value of pixels without a class in masks of this format.
    """

    find: Callable[[Path, Options], Source]
    options: frozenset[str] = frozenset()
    classes: tuple[str, ...] = ()
    ignore_label: int | None = None


@dataclass(frozen=True)
class Entry:
    """The name of one sample; slices also have a volume and a group."""

    stem: str
    volume: str | None = None
    slice: int | None = None
    group: str | None = None


@dataclass(frozen=True)
class Part:
    """What is read at once, an image or a volume.

    ``read`` returns the pixels of each entry by folder, as the platform stores them, or raises BadFile.
    """

    file: Path
    entries: tuple[Entry, ...]
    folders: tuple[str, ...]
    read: Callable[[], Sequence[Mapping[str, Pixels]]]


@dataclass(frozen=True)
class Source:
    """The parts of a source, and files that could not be opened while looking for them."""

    parts: tuple[Part, ...]
    problems: tuple[BadFile, ...] = ()
    notes: tuple[str, ...] = ()


def check_source(source: Source) -> None:
    """Refuse two samples of one name."""
    files: dict[str, list[Path]] = defaultdict(list)
    for part in source.parts:
        for entry in part.entries:
            files[entry.stem].append(part.file)
    raise_problems(
        [
            BadFile(paths[1], f"would be imported as {stem}, and so would {paths[0]}")
            for stem, paths in files.items()
            if len(paths) > 1
        ]
    )


def gaps(source: Source) -> Iterator[str]:
    """What only some images of the source have, which the data set may lack too."""
    for folder, kind in ((SCRIBBLES, "scribbles"), (TRUTH, "masks")):
        lacking = [part.file for part in source.parts if folder not in part.folders]
        if 0 < len(lacking) < len(source.parts):
            shown = ", ".join(file.name for file in lacking[:3]) + (", ..." if len(lacking) > 3 else "")
            yield f"{len(lacking)} of {plural(len(source.parts), 'file')} have no {kind}: {shown}"


def existing_folder(path: Path) -> Path:
    """The path, if it is a folder."""
    if not path.is_dir():
        raise UserError(f"{path}: {'is not a folder' if path.exists() else 'no such folder'}")
    return path
