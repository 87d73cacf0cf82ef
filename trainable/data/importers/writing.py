"""Writing the samples of a source: each file atomically, only those that are missing, and the tables at the end."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from trainable.data.class_colours import palette
from trainable.data.dataset import IMAGES, SCRIBBLES, TRUTH, BadFile, Pixels
from trainable.data.importers.destination import Destination
from trainable.data.importers.problems import raise_problems
from trainable.data.importers.source import Entry, Part, Source
from trainable.data.task import MOST
from trainable.errors import UserError
from trainable.printing import Progress, plural
from trainable.storage.atomic_files import write_atomically, write_text

FOLDERS = (IMAGES, SCRIBBLES, TRUTH)
VOLUMES, GROUPS = "volumes.csv", "groups.csv"


def write_split(source: Source, destination: Destination, progress: Progress) -> bool:
    """Write what is missing and return whether that was anything; all bad files are reported together.

    After an interruption or an error, files that are complete stay, and the next call writes the others.
    """
    entries = [entry for part in source.parts for entry in part.entries]
    if destination.finished.is_dir():
        _check_finished(source, destination)
        return False
    problems = list(source.problems)
    done = 0
    for part in source.parts:
        try:
            _write_part(part, destination)
        except BadFile as problem:
            problems.append(problem)
        done += len(part.entries)
        progress(done, len(entries))
    raise_problems(problems, "after a correction, the same command continues")
    _remove_others(source, destination.unfinished)
    _write_tables(entries, destination.unfinished)
    destination.finish()
    return True


def _files(part: Part, entry: Entry, root: Path) -> dict[str, Path]:
    return {folder: root / folder / f"{entry.stem}.png" for folder in part.folders}


def _write_part(part: Part, destination: Destination) -> None:
    wanted = [_files(part, entry, destination.unfinished) for entry in part.entries]
    if all(path.exists() for files in wanted for path in files.values()):
        return
    samples = part.read()
    destination.begin()
    for files, sample in zip(wanted, samples, strict=True):
        for folder, path in files.items():
            if not path.exists():
                _write_png(path, sample[folder], labels=folder != IMAGES)


def _write_png(path: Path, pixels: Pixels, labels: bool) -> None:
    image = Image.fromarray(pixels)
    if labels:
        image.putpalette(palette(MOST))
    write_atomically(path, lambda file: image.save(file, "PNG"))


def _check_finished(source: Source, destination: Destination) -> None:
    """A finished split is never touched: trained models may depend on it."""
    raise_problems(source.problems)
    wanted = [path for part in source.parts for entry in part.entries for path in _files(part, entry, Path()).values()]
    missing = [path for path in wanted if not (destination.finished / path).exists()]
    if missing:
        raise UserError(
            f"{destination.finished}: was finished, but lacks {plural(len(missing), 'file')} that the source now calls "
            f"for, such as {missing[0]}; import into a new folder"
        )


def _remove_others(source: Source, root: Path) -> None:
    """Remove what a killed write left behind, and samples that have been removed from the source since."""
    wanted = {path for part in source.parts for entry in part.entries for path in _files(part, entry, root).values()}
    for folder in (root / name for name in FOLDERS if (root / name).is_dir()):
        for path in folder.iterdir():
            if path not in wanted:
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()  # an empty ground_truth/ would say that the images have masks


def _write_tables(entries: Sequence[Entry], root: Path) -> None:
    volumes = [(entry.stem, entry.volume, entry.slice) for entry in entries if entry.volume is not None]
    groups = [(entry.stem, entry.group) for entry in entries if entry.group is not None]
    for name, columns, rows in ((VOLUMES, ("stem", "volume", "slice"), volumes), (GROUPS, ("stem", "group"), groups)):
        if rows:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([columns, *sorted(rows)])
            write_text(root / name, text.getvalue())
