"""Held-out images that a network has in fact been trained on: copies, and groups in two splits."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from trainable.checks import duplicates
from trainable.checks.diagnosis import Problem, relative_to
from trainable.checks.sample_check import Sample
from trainable.data.dataset import Split
from trainable.data.groups import GROUPS
from trainable.printing import plural

Groups = Mapping[str, Mapping[str, str]]  # split -> stem -> group


def duplicate_images(samples: Sequence[Sample], training: str, groups: Groups) -> Iterator[Problem]:
    """Copies, except within a group; in a declared data set, one problem for all copies between two groups.

    Neighbouring slices look alike, but slices of different patients do not, so different patients are compared as
    photographs are. Among the 1,902 slices of the ACDC data set, 1,113 pairs look the same, all within a patient. 16
    more are a true leak: patient074 and patient076 have the same pixels in every slice. Any other slices of two
    patients score at most 0.05, where 0.5 counts as the same.
    """
    between: dict[tuple[str, str, str], list[Problem]] = defaultdict(list)
    seen = [(one, one.digest, one.thumbnail) for one in samples if one.digest and one.thumbnail is not None]
    for pair in duplicates.find_duplicates([item[1] for item in seen], [item[2] for item in seen]):
        first, second = seen[pair.first][0], seen[pair.second][0]
        a, b = (groups.get(one.split.name, {}).get(one.stem) for one in (first, second))
        if first.split.name == second.split.name and a is not None and a == b:
            continue  # folds never split a group, so this is not a leak
        problem = Problem(second.split.images[second.stem], "duplicate", _copy(first, second, pair, training))
        if first.split.task.declared and a is not None and b is not None:
            between[second.split.name, a, b].append(problem)
        else:
            yield problem
    for (_, a, b), found in between.items():
        more = f" ({plural(len(found) - 1, 'more copy', 'more copies')} between {a} and {b})" if found[1:] else ""
        yield replace(found[0], text=found[0].text + more)


def _copy(first: Sample, second: Sample, pair: duplicates.Duplicate, training: str) -> str:
    text = "has exactly the pixels of " if pair.exact else "shows the same picture as "
    text += relative_to(first.split.images[first.stem], first.split.root.parent)
    text += ", mirrored" if pair.mirrored else ""
    if first.split.name != second.split.name:
        text += f": a leak between {first.split.name} and {second.split.name}"
    elif first.split.name == training:
        text += f": a leak between folds, unless {GROUPS} puts both in one group"
    return text


def shared_groups(splits: Sequence[Split], groups: Groups) -> Iterator[Problem]:
    """Groups with images in several splits; the file of the last of these splits is the one to correct."""
    images: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for split in splits:
        for group in groups.get(split.name, {}).values():
            images[group][split.name] += 1
    for group, counts in images.items():
        if len(counts) > 1:
            *others, last = (f"{name} ({plural(count, 'image')})" for name, count in counts.items())
            split = next(one for one in reversed(splits) if one.name in counts)
            file = split.root / (split.task.volumes if not (split.root / GROUPS).exists() else GROUPS)
            text = f"lists a group of another split, a leak: group {group} is in {', '.join(others)} and {last}"
            yield Problem(file, "leak", text)
