"""Which label file belongs to which image: by an {id} in patterns, or because its name starts with the image's."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from trainable.data.dataset import BadFile
from trainable.data.importers.problems import raise_problems
from trainable.errors import UserError

ID = "{id}"


def list_files(source: Path, pattern: str, suffixes: Sequence[str], option: str) -> dict[Path, str]:
    """The files of a folder or pattern, each with its id; without {id} in the pattern, that is the stem."""
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise UserError(f"{option} {pattern}: write a folder or pattern that is relative to {source}")
    root = source / pattern
    if root.is_dir():
        files = [path for path in sorted(root.iterdir()) if path.name.endswith(tuple(suffixes))]
    else:
        files = sorted(source.glob(pattern.replace(ID, "*")))
    files = [path for path in files if not path.name.startswith(".")]
    named = {path: _id_of(path.relative_to(source), pattern, suffixes) for path in files}
    found = {path: name for path, name in named.items() if name}
    if not found:
        what = f"contains no {' or '.join(suffixes)} file" if root.is_dir() else "matches no file"
        raise UserError(f"{root}: {what}; {option} says where they are")
    return found


def _id_of(path: Path, pattern: str, suffixes: Sequence[str]) -> str | None:
    if ID not in pattern:
        return stem_of(path, suffixes)
    expression = re.escape(pattern).replace(re.escape(ID), "(?P<id>[^/]+?)", 1).replace(re.escape(ID), "(?P=id)")
    match = re.fullmatch(expression.replace(r"\*", "[^/]*"), path.as_posix())
    return match["id"] if match else None


def stem_of(path: Path, suffixes: Sequence[str]) -> str:
    """The name without its suffix, of which ".nii.gz" is one."""
    suffix = next((suffix for suffix in sorted(suffixes, key=len, reverse=True) if path.name.endswith(suffix)), "")
    return path.name.removesuffix(suffix)


def match_files(
    images: Mapping[Path, str], others: Mapping[Path, str], by_id: bool, suffixes: Sequence[str]
) -> dict[Path, Path]:
    """The other file of each image that has one; two candidates for a file are an error that names them.

    Files match by equal ids, or, if ``by_id`` is false, also if the other name is the image's plus something that does
    not begin with a letter or digit.
    """
    if by_id:
        return _unique((image, other) for image in images for other in others if images[image] == others[other])
    stems = {image: stem_of(image, suffixes) for image in images}
    equal = {stem: image for image, stem in stems.items()}
    pairs = []
    for other in others:
        stem = stem_of(other, suffixes)
        if stem in equal:
            pairs.append((equal[stem], other))
        else:
            pairs += [(image, other) for image in images if re.match(rf"{re.escape(stems[image])}[\W_]", stem)]
    return _unique(pairs)


def _unique(pairs: Iterable[tuple[Path, Path]]) -> dict[Path, Path]:
    others: dict[Path, list[Path]] = defaultdict(list)
    images: dict[Path, list[Path]] = defaultdict(list)
    for image, other in pairs:
        others[image].append(other)
        images[other].append(image)
    problems = [
        BadFile(file, f"matches {' and '.join(map(str, found))}") for file, found in others.items() if found[1:]
    ]
    problems += [
        BadFile(file, f"matches {' and '.join(map(str, found))}") for file, found in images.items() if found[1:]
    ]
    raise_problems(problems, "say which by a pattern with {id}")
    return {image: found[0] for image, found in others.items()}
