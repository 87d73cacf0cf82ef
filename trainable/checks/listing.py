"""Problems of a data set that are visible from the names of its files and folders."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trainable.checks.diagnosis import Problem
from trainable.checks.memberships import first
from trainable.data.dataset import IMAGES, SCRIBBLES, SUFFIXES, TRUTH, Split, unread
from trainable.data.groups import GROUPS
from trainable.data.task import FILE as TASK_FILE
from trainable.data.task import VOLUMES, Task
from trainable.errors import did_you_mean
from trainable.printing import plural


def listing(folder: Path, splits: Sequence[Split], training: str, task: Task) -> Iterator[Problem]:
    names = [one.name for one in splits]
    if training not in names:
        text = f"has no split {training!r} to train on, only {', '.join(names)}.{did_you_mean(training, names)}"
        yield Problem(folder, "split", text)
    for one in splits:
        if not one.images:
            yield Problem(one.root / IMAGES, "split", f"contains no image ({', '.join(SUFFIXES)})")
        elif one.name == training:
            yield from _missing_labels(one)
        elif task.declared and one.truth and (bare := _without(one, one.truth)):
            text = f"has no mask for {plural(len(bare), 'image')} ({first(bare)}); not scored"
            yield Problem(one.root / TRUTH, "no masks", text)
        files = {IMAGES: one.images, SCRIBBLES: one.scribbles, TRUTH: one.truth}
        for path in one.clashes:
            kept = files[path.parent.name][path.stem].name
            yield Problem(path, "shared stem", f"shares its stem with {kept}; only one file of a stem is read")
        yield from (Problem(bad.file, "missing partner", bad.problem) for bad in one.missing_partners())
        yield from (Problem(bad.file, "not read", bad.problem) for name in files for bad in unread(one.root / name))
    yield from _ignored(folder, splits, training, task)


def _missing_labels(split: Split) -> Iterator[Problem]:
    """What the training split lacks, and what follows for training."""
    masks = f"has no {TRUTH} folder" if not split.labelled else f"has no mask in {TRUTH}"
    scribbles = f"has no {SCRIBBLES} folder" if not (split.root / SCRIBBLES).is_dir() else f"has no file in {SCRIBBLES}"
    declared = split.task.declared
    trainable = split.truth or split.scribbles if declared else split.labelled or split.scribbles
    if not trainable:
        lacking = "has neither masks nor scribbles" if declared else masks
        yield Problem(split.root, "split", f"{lacking}, there is nothing to train on")
        return
    if not split.labelled or (declared and not split.truth):
        only = "can be trained on with supervision=scribbles only, and is scored on scribbled pixels"
        yield Problem(split.root, "no masks", f"{masks}: {only}")
    elif declared and (bare := _without(split, split.truth)):
        follows = "trained on only with supervision=scribbles, and not scored"
        text = f"has no mask for {plural(len(bare), 'image')} ({first(bare)}); {follows}"
        yield Problem(split.root / TRUTH, "no masks", text)
    if declared and not split.scribbles:
        yield Problem(split.root, "no scribbles", f"{scribbles}: can be trained on with supervision=masks only")
    elif declared and (bare := _without(split, split.scribbles)):
        follows = "not trained on with supervision=scribbles" + ("" if split.truth else ", and not scored")
        text = f"has no scribble for {plural(len(bare), 'image')} ({first(bare)}); {follows}"
        yield Problem(split.root / SCRIBBLES, "no scribbles", text)


def _without(split: Split, labels: Mapping[str, Path]) -> list[str]:
    return [stem for stem in split.stems if stem not in labels]


def _ignored(folder: Path, splits: Sequence[Split], training: str, task: Task) -> Iterator[Problem]:
    """Files that look as if they belonged to the data set but are not read where they are."""
    if (folder / GROUPS).exists():
        yield Problem(folder / GROUPS, "not read", f"is ignored here; move it to {training}/{GROUPS}")
    if (folder / task.volumes).exists():
        yield Problem(folder / task.volumes, "not read", f"is ignored here; move it to {training}/{task.volumes}")
    for one in splits:
        if not task.declared and (one.root / VOLUMES).exists():
            text = f"is ignored, since no {TASK_FILE} beside the splits declares the data set"
            yield Problem(one.root / VOLUMES, "not read", text)
        if (one.root / TASK_FILE).exists():
            yield Problem(
                one.root / TASK_FILE, "not read", f"is ignored here; move it to {TASK_FILE}, beside the splits"
            )
    if task.volumes != VOLUMES and not any(one.volumes_file for one in splits):
        text = f"names {task.volumes} as the file of volumes, which no split has"
        yield Problem(folder / TASK_FILE, "not read", text)
    names = {one.name for one in splits}
    for path in sorted(folder.iterdir()):
        if path.name not in names and any((path / name).is_dir() for name in (SCRIBBLES, TRUTH)):
            yield Problem(path, "not read", f"is not a split: it has no folder {IMAGES}")
