"""Finds every problem of a data set, each with its file."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trainable.checks import duplicates
from trainable.checks.diagnosis import ERRORS, WARNINGS, Diagnosis, Problem, SplitFacts, relative_to
from trainable.checks.sample_check import Sample, look_at_all, statistics
from trainable.config import STRIDE
from trainable.data import dataset
from trainable.data.dataset import IMAGES, SCRIBBLES, SUFFIXES, TRUTH, Split, unread
from trainable.data.folds import GROUPS, read_groups
from trainable.errors import UserError, did_you_mean
from trainable.printing import Progress, plural

# Other image suffixes: such a file was probably meant to be read, unlike a Thumbs.db.


def examine(folder: Path, split: str = "train", progress: Progress | None = None) -> Diagnosis:
    """Check every file of every split; ``split`` is the one to train on."""
    found = dataset.find_splits(folder)
    splits = sorted(found.values(), key=lambda one: (one.name != split, one.name))
    samples = look_at_all(splits, progress)
    groups, problems = _groups(found.get(split))
    problems += _listing(folder, splits, split)
    problems += [problem for sample in samples for problem in sample.problems]
    problems += _duplicates(samples, split, groups)
    working_size = None
    sizes = [sample.size for sample in samples if sample.size and sample.split.name == split]
    try:
        working_size = dataset.working_size(sizes, STRIDE) if sizes else None
    except UserError as error:
        problems.append(Problem(found[split].root, "working size", str(error)))
    facts = tuple(SplitFacts(one.name, len(one.images), one.labelled, _hash(one)) for one in splits)
    order = {kind: k for k, kind in enumerate(ERRORS + WARNINGS)}
    return Diagnosis(
        folder,
        facts,
        tuple(sorted(problems, key=lambda problem: (order[problem.kind], problem.file, problem.text))),
        next((one.hash for one in facts if one.name == split), None),
        Counter(sorted(sample.size for sample in samples if sample.size)),
        working_size=working_size,
        **statistics([sample for sample in samples if sample.split.labelled]),
    )


def _hash(split: Split) -> str | None:
    """None if a file cannot be read, which is then among the problems."""
    try:
        return split.hash
    except OSError:
        return None


def _listing(folder: Path, splits: Sequence[Split], training: str) -> list[Problem]:
    """Problems that are visible from names of files and folders."""
    problems = []
    names = [one.name for one in splits]
    if training not in names:
        text = f"has no split {training!r} to train on, only {', '.join(names)}.{did_you_mean(training, names)}"
        problems.append(Problem(folder, "split", text))
    for one in splits:
        if not one.images:
            problems.append(Problem(one.root / IMAGES, "split", f"contains no image ({', '.join(SUFFIXES)})"))
        if one.name == training and not one.labelled:
            problems.append(Problem(one.root, "split", f"has no {TRUTH} folder, there is nothing to train on"))
        files = {IMAGES: one.images, SCRIBBLES: one.scribbles, TRUTH: one.truth}
        for path in one.clashes:
            kept = files[path.parent.name][path.stem].name
            problems.append(
                Problem(path, "shared stem", f"shares its stem with {kept}; only one file of a stem is read")
            )
        problems += [Problem(bad.file, "missing partner", bad.problem) for bad in one.missing_partners()]
        problems += [Problem(bad.file, "not read", bad.problem) for name in files for bad in unread(one.root / name)]
    if (folder / GROUPS).exists():
        problems.append(Problem(folder / GROUPS, "not read", f"is ignored here; move it to {training}/{GROUPS}"))
    for path in folder.iterdir():
        if path.name not in names and any((path / name).is_dir() for name in (SCRIBBLES, TRUTH)):
            problems.append(Problem(path, "not read", f"is not a split: it has no folder {IMAGES}"))
    return problems


def _groups(split: Split | None) -> tuple[dict[str, str], list[Problem]]:
    if split is None or not (path := split.root / GROUPS).exists():
        return {}, []
    try:
        groups = read_groups(path, split.stems)
    except UserError as error:
        return {}, [Problem(path, "groups", str(error).removeprefix(str(path)).lstrip(":, "))]
    alone = [stem for stem in split.stems if stem not in groups]
    if not alone:
        return groups, []
    shown = ", ".join(alone[:3]) + (", ..." if len(alone) > 3 else "")
    text = f"lists no group for {plural(len(alone), 'image')} ({shown}); each forms its own group"
    return groups, [Problem(path, "ungrouped", text)]


def _duplicates(samples: Sequence[Sample], training: str, groups: Mapping[str, str]) -> Iterator[Problem]:
    seen = [(one, one.digest, one.thumbnail) for one in samples if one.digest and one.thumbnail is not None]
    for pair in duplicates.find_duplicates([item[1] for item in seen], [item[2] for item in seen]):
        first, second = seen[pair.first][0], seen[pair.second][0]
        within = first.split.name == second.split.name
        if within and first.split.name == training and groups.get(first.stem, "") == groups.get(second.stem):
            continue  # folds never split a group, so this is not a leak
        text = "has exactly the pixels of " if pair.exact else "shows the same picture as "
        text += relative_to(first.split.images[first.stem], first.split.root.parent)
        text += ", mirrored" if pair.mirrored else ""
        if not within:
            text += f": a leak between {first.split.name} and {second.split.name}"
        elif first.split.name == training:
            text += f": a leak between folds, unless {GROUPS} puts both in one group"
        yield Problem(second.split.images[second.stem], "duplicate", text)
