"""The result of checking a data set, as text for people and as JSON."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from trainable.checks.class_table import ClassFacts, class_table
from trainable.data.dataset import TRUTH
from trainable.data.task import TWO_CLASSES, Task
from trainable.printing import digits, plural

# Kinds of problems in the order of printing. A data set with errors cannot be trained on as it is.
ERRORS = (
    *("dataset", "split", "missing partner", "shared stem", "unreadable", "labels", "size"),
    *("groups", "volumes", "leak"),
)
WARNINGS = (
    *("no masks", "no scribbles", "class", "duplicate", "mask", "scribble", "contradiction", "colours", "mixed sizes"),
    *("working size", "missing slices", "ungrouped", "unlisted", "not read"),
)

PROBLEM_COLUMNS = ("file", "severity", "kind", "problem")
LINES = 20

Size = tuple[int, int]


@dataclass(frozen=True)
class Problem:
    file: Path
    kind: str
    text: str

    @property
    def severity(self) -> Literal["error", "warning"]:
        return "error" if self.kind in ERRORS else "warning"


@dataclass(frozen=True)
class SplitFacts:
    name: str
    images: int
    labelled: bool
    hash: str | None
    masks: int = 0
    scribbles: int = 0
    volumes: int = 0
    groups: int = 0


@dataclass(frozen=True)
class Diagnosis:
    """Statistics cover the images of labelled splits, or those of the training split if a ``dataset.yaml`` declares
    the data set; None if there is nothing to measure. ``classes`` and ``empty_masks`` are for declared data sets.
    """

    folder: Path
    splits: tuple[SplitFacts, ...]
    problems: tuple[Problem, ...]
    hash: str | None
    sizes: Mapping[Size, int]
    size: Size | None
    working_size: Size | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    foreground_share: float | None
    scribble_coverage: Mapping[str, float] | None
    task: Task = TWO_CLASSES
    classes: tuple[ClassFacts, ...] = ()
    empty_masks: int = 0

    @property
    def background_to_foreground(self) -> float | None:
        return 1 / self.foreground_share - 1 if self.foreground_share else None

    def images(self, labelled: bool) -> int:
        return sum(split.images for split in self.splits if split.labelled == labelled)

    @property
    def errors(self) -> int:
        return sum(problem.severity == "error" for problem in self.problems)

    @property
    def warnings(self) -> int:
        return len(self.problems) - self.errors


def as_document(diagnosis: Diagnosis) -> dict[str, Any]:
    """For JSON."""
    document: dict[str, Any] = {
        "images": diagnosis.images(labelled=True),
        "unlabelled": diagnosis.images(labelled=False),
        "errors": diagnosis.errors,
        "warnings": diagnosis.warnings,
        "problems": problem_rows(diagnosis),
        "foreground_share": diagnosis.foreground_share,
        "background_to_foreground": diagnosis.background_to_foreground,
        "scribble_coverage": diagnosis.scribble_coverage,
        "size": diagnosis.size,
        "sizes": {by(size): count for size, count in diagnosis.sizes.items()},
        "working_size": diagnosis.working_size,
        "mean": diagnosis.mean,
        "std": diagnosis.std,
        "hash": diagnosis.hash,
        "splits": {
            one.name: {"images": one.images, "labelled": one.labelled, "hash": one.hash} for one in diagnosis.splits
        },
    }
    if diagnosis.task.declared:
        counts = ("masks", "scribbles", "volumes", "groups")
        for one in diagnosis.splits:
            document["splits"][one.name].update({key: getattr(one, key) for key in counts})
        document["classes"] = [asdict(one) for one in diagnosis.classes]
        document["empty_masks"] = diagnosis.empty_masks
    return document


def problem_rows(diagnosis: Diagnosis) -> list[dict[str, str]]:
    return [
        {"file": str(one.file), "severity": one.severity, "kind": one.kind, "problem": one.text}
        for one in diagnosis.problems
    ]


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """For people: the content, the problems and the next step."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(str(diagnosis.folder), style="bold", markup=False)
    for name, value in _summary(diagnosis):
        console.print(f"  {name:<11}{value}", markup=False)
    for line in class_table(diagnosis.classes):
        console.print(line, markup=False)
    for severity, style in (("error", "bold red"), ("warning", "bold yellow")):
        problems = [one for one in diagnosis.problems if one.severity == severity]
        if problems:
            console.print(f"\n{plural(len(problems), severity)}", style=style, markup=False)
        # Every kind is shown: two thousand missing files must not hide the one that is damaged.
        room = max(5, LINES // max(1, len({one.kind for one in problems})))
        for kind, group in groupby(problems, key=lambda one: one.kind):
            listed = list(group)
            console.print(f"  {kind} ({len(listed):,})", markup=False)
            for one in listed[:room]:
                console.print(f"    {relative_to(one.file, diagnosis.folder)} {one.text}", markup=False)
            if len(listed) > room:
                console.print(f"    (+{len(listed) - room:,} more; --format csv lists all)", style="dim", markup=False)
    console.print(f"\n{_next_step(diagnosis)}", markup=False)


def _next_step(diagnosis: Diagnosis) -> str:
    folder = shlex.quote(str(diagnosis.folder))
    if diagnosis.errors:
        return f"Fix the {plural(diagnosis.errors, 'error')}, then run again: python -m trainable doctor {folder}"
    training = diagnosis.splits[0]
    supervision = "" if training.masks else " --set supervision=scribbles"
    inputs = "" if training.masks and training.scribbles else " --set inputs=image"
    return f"Next: python -m trainable fit {folder}{supervision}{inputs}"


def _summary(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    if diagnosis.task.declared:
        yield "images", f"{sum(one.images for one in diagnosis.splits):,}"
        for one in diagnosis.splits:
            yield "", f"{one.name}: {_content(one)}"
    else:
        yield "images", f"{diagnosis.images(True):,} with masks, {diagnosis.images(False):,} without"
        for one in diagnosis.splits:
            truth = f"with {TRUTH}" if one.labelled else "images and scribbles only"
            yield "", f"{one.name}: {one.images:,}, {truth}"
    shown = [f"{by(size)} ({count:,})" for size, count in Counter(diagnosis.sizes).most_common(4)]
    more = f" and {len(diagnosis.sizes) - len(shown)} more sizes" if len(diagnosis.sizes) > len(shown) else ""
    trained = f"; trained at {by(diagnosis.working_size)}" if diagnosis.working_size else ""
    if shown or not diagnosis.task.declared:
        yield "size", ", ".join(shown) + more + trained
    if diagnosis.background_to_foreground is not None and diagnosis.task.binary:
        ratio = diagnosis.background_to_foreground
        yield "foreground", f"{diagnosis.foreground_share:.1%} of pixels, background to foreground {digits(ratio)}"
    if diagnosis.scribble_coverage:
        parts = ", ".join(f"{diagnosis.scribble_coverage[name]:.2%} {name}" for name in ("foreground", "background"))
        yield "scribbles", f"{diagnosis.scribble_coverage['all']:.2%} of pixels: {parts}"
    for name, values in (("mean", diagnosis.mean), ("std", diagnosis.std)):
        if values:
            channels = "red, green, blue" if len(values) > 1 else "grey"
            yield name, "  ".join(map(digits, values)) + f"  ({channels} in 0..1)"
    if diagnosis.empty_masks:
        yield "empty", f"{diagnosis.empty_masks:,} of {plural(diagnosis.splits[0].masks, 'mask')} show background only"


def _content(one: SplitFacts) -> str:
    labels = [plural(one.masks, "mask"), plural(one.scribbles, "scribble")] if one.masks or one.scribbles else []
    sets = [plural(count, name) for count, name in ((one.volumes, "volume"), (one.groups, "group")) if count]
    return ", ".join([plural(one.images, "image"), *(labels or ["no labels"]), *sets])


def relative_to(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path != folder and path.is_relative_to(folder) else path.name


def by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
