"""The command ``import``: options as the user writes them, one import from its checks to its last line."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from trainable.data.dataset import SCRIBBLES, TRUTH
from trainable.data.importers.destination import Destination, check_destination
from trainable.data.importers.registry import IMPORTERS, importer_named
from trainable.data.importers.source import Importer, Options, Source, check_source, gaps
from trainable.data.importers.voc import read_names
from trainable.data.importers.writing import write_split
from trainable.data.task import check_classes
from trainable.errors import UserError
from trainable.printing import plural, progress_bar, say

COMMON = ("classes", "split")


@dataclass(frozen=True)
class Request:
    """The command line; None is an option that was not given."""

    form: str
    source: Path
    folder: Path
    split: str = "train"
    classes: str | None = None
    images: str | None = None
    labels: str | None = None
    scribbles: str | None = None
    pixel_size: float | None = None
    crop: str | None = None
    window: str | None = None
    axis: int | None = None
    unlabelled: int | None = None
    group: str | None = None
    names: Path | None = None
    image_set: str | None = None


def import_data(request: Request) -> None:
    """Write one split of a data set, or the rest of it after an interruption."""
    importer = importer_named(request.form)
    options = _options(request, importer)
    destination = Destination(request.folder, request.split, _record(request, options), _description(importer, options))
    check_destination(destination)
    source = importer.find(request.source, options)
    check_source(source)
    with progress_bar("importing images") as progress:
        written = write_split(source, destination, progress)
    say(_summary(source, destination, written))
    for note in (*source.notes, *gaps(source)):
        say(f"Note: {note}")
    say(f"Next: python -m trainable doctor {request.folder} --split {request.split}")


def _options(request: Request, importer: Importer) -> Options:
    own = {field.name: getattr(request, field.name) for field in fields(Options)}
    for name, value in own.items():
        if value is not None and name not in (*COMMON, *importer.options):
            formats = [form for form, other in IMPORTERS.items() if name in other.options]
            raise UserError(f"--{name.replace('_', '-')} belongs to {' and '.join(formats)}, not to {request.form}")
    classes = _classes(request, importer)
    return Options(**own | {"classes": classes, "crop": _crop(request.crop), "window": _window(request.window)})


def _classes(request: Request, importer: Importer) -> tuple[str, ...]:
    text = request.classes
    if text is None:
        if not importer.classes:
            raise UserError(f"{request.form} needs --classes, such as --classes background,RV,MYO,LV")
        return importer.classes
    from_file = text.endswith(".txt") or Path(text).is_file()
    classes = read_names(Path(text)) if from_file else tuple(name.strip() for name in text.split(","))
    return check_classes(classes)


def _crop(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise UserError(f"--crop {text!r}: write WIDTHxHEIGHT, as in 212x212") from None
    if min(width, height) < 1:
        raise UserError(f"--crop {text!r}: width and height of at least 1 are needed")
    return width, height


def _window(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--window {text!r}: write LOW,HIGH, as in 0.5,99.5") from None
    if not 0 <= low < high <= 100:
        raise UserError(f"--window {text!r}: two percentiles from 0 to 100 are needed, the lower one first")
    return low, high


def _record(request: Request, options: Options) -> dict[str, Any]:
    """What two runs of the command must agree on to write the same files."""
    given = {name: value for name, value in asdict(options).items() if value is not None and name != "split"}
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    paths = {"names": str(options.names.resolve())} if options.names else {}
    return {"format": request.form, "source": str(request.source.resolve())} | values | paths


def _description(importer: Importer, options: Options) -> dict[str, Any]:
    ignored = {} if importer.ignore_label is None else {"ignore_label": importer.ignore_label}
    return {"classes": list(options.classes)} | ignored


def _summary(source: Source, destination: Destination, written: bool) -> str:
    entries = [entry for part in source.parts for entry in part.entries]
    volumes = {entry.volume for entry in entries} - {None}
    folders = {folder for part in source.parts for folder in part.folders}
    content = plural(len(entries), "image") + (f" of {plural(len(volumes), 'volume')}" if volumes else "")
    kinds = [name for folder, name in ((SCRIBBLES, "scribbles"), (TRUTH, "masks")) if folder in folders]
    labels = f"with {' and '.join(kinds)}" if kinds else "without scribbles and masks"
    done = "" if written else "; all of them were there already"
    return f"{destination.finished}: {content}, {labels}{done}"
