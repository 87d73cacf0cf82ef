"""Mistakes of dataset.yaml, groups.csv and volumes.csv, and images that belong together but are apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import typer.testing
from PIL import Image

from trainable.__main__ import app
from trainable.checks.diagnosis import Diagnosis, as_document, print_diagnosis
from trainable.checks.doctor import examine


def found(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    return [(str(one.file.relative_to(diagnosis.folder)), one.kind, one.text) for one in diagnosis.problems]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("classes: []", "line 1: classes is empty; 2 to 15 are allowed"),
        (f"classes: [{', '.join('abcdefghijklmnop')}]", "line 1: classes has 16 names; 2 to 15 are allowed"),
        ("classes: [background, ring, ring]", "line 1: class 'ring' is listed twice"),
        ("classes: [background, ring", "line 1: is not valid YAML"),
        ("classes: [background, ring]\nvolume: a.csv", "line 2: unknown key 'volume'. Did you mean 'volumes'?"),
        ("", "must be a mapping such as classes: [background, ring, core]"),
    ],
)
def test_a_mistake_of_the_declaration_is_one_line_and_exit_code_2(slices: Path, text: str, words: str) -> None:
    (slices / "dataset.yaml").write_text(text)
    (problem,) = found(examine(slices))
    assert problem[:2] == ("dataset.yaml", "dataset")
    assert problem[2].startswith(words)
    result = typer.testing.CliRunner().invoke(app, ["doctor", str(slices)])
    assert result.exit_code == 2
    assert f"    dataset.yaml {words}" in result.output


def test_the_mistakes_of_all_files_are_listed_together(slices: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (slices / "dataset.yaml").write_text("classes: [background, ring, ring]\nignore_label: 3\n")
    replace(slices / "train/groups.csv", "volume000_01,", "volume000_1,")
    replace(slices / "train/volumes.csv", "volume001_04,volume001,4", "volume001_04,volume001,four")
    replace(slices / "test1/volumes.csv", "test1_volume000_02", "nothing")
    diagnosis = examine(slices)
    assert [(file, kind, text.split(":")[0]) for file, kind, text in found(diagnosis)] == [
        ("dataset.yaml", "dataset", "line 1"),
        ("dataset.yaml", "dataset", "line 2"),
        ("train/groups.csv", "groups", "line 3"),
        ("test1/volumes.csv", "volumes", "line 4"),
        ("train/volumes.csv", "volumes", "line 12"),
    ]
    assert "Did you mean 'volume000_01'" in diagnosis.problems[2].text
    assert as_document(diagnosis)["hash"] is None
    print_diagnosis(diagnosis)
    assert "  class " not in capsys.readouterr().out


@pytest.mark.parametrize("number", ["--3", "3.0", "three"])
def test_a_slice_that_is_no_whole_number_is_an_error(slices: Path, number: str) -> None:
    replace(slices / "train/volumes.csv", "volume001_03,volume001,3", f"volume001_03,volume001,{number}")
    assert found(examine(slices)) == [
        ("train/volumes.csv", "volumes", f"line 11: slice '{number}' of 'volume001_03' is not a whole number")
    ]


def test_images_that_no_file_lists_are_a_warning(slices: Path) -> None:
    replace(slices / "train/volumes.csv", "volume001_05,volume001,5\n", "")
    assert found(examine(slices)) == [
        ("train/volumes.csv", "unlisted", "lists no volume for 1 image (volume001_05); each forms its own volume")
    ]


def test_a_group_in_two_splits_is_a_leak(slices: Path) -> None:
    groups = slices / "test1/groups.csv"
    groups.write_text(groups.read_text().replace(",test1_volume000", ",volume001"))
    diagnosis = examine(slices)
    assert found(diagnosis) == [
        (
            "test1/groups.csv",
            "leak",
            "lists a group of another split, a leak: group volume001 is in train (6 images) and test1 (6 images)",
        )
    ]
    assert diagnosis.errors == 1


def test_without_groups_a_volume_in_two_splits_is_a_leak(slices: Path) -> None:
    for split in ("train", "test1"):
        (slices / split / "groups.csv").unlink()
    volumes = slices / "test1/volumes.csv"
    volumes.write_text(volumes.read_text().replace(",test1_volume000,", ",volume001,"))
    ((file, kind, text),) = found(examine(slices))
    assert (file, kind) == ("test1/volumes.csv", "leak")
    assert text.endswith("group volume001 is in train (6 images) and test1 (6 images)")


def test_a_volume_in_two_groups_is_an_error(slices: Path) -> None:
    replace(slices / "train/groups.csv", "volume002_03,volume002", "volume002_03,other")
    errors = [one for one in examine(slices).problems if one.severity == "error"]
    assert [(one.kind, one.text) for one in errors] == [
        (
            "groups",
            "divides volume 'volume002' between the groups 'other' and 'volume002'; "
            "all slices of a volume must be in one group",
        )
    ]


def test_a_volume_that_is_partly_in_no_group_is_an_error(slices: Path) -> None:
    replace(slices / "train/groups.csv", "volume002_03,volume002\n", "")
    errors = [one for one in examine(slices).problems if one.severity == "error"]
    assert [one.text for one in errors] == [
        "lists no group for slices of volume 'volume002' (volume002_03); all slices of a volume must be in one group"
    ]


@pytest.mark.parametrize("groups", [True, False], ids=["groups", "volumes alone"])
def test_alike_slices_of_one_volume_are_no_leak(slices: Path, groups: bool) -> None:
    for split in ("train", "test1"):
        folder = slices / split / "images"
        name = "volume000" if split == "train" else "test1_volume000"
        shutil.copy(folder / f"{name}_02.png", folder / f"{name}_03.png")
        if not groups:
            (slices / split / "groups.csv").unlink()
    assert [kind for _, kind, _ in found(examine(slices))] == []


def test_copies_between_two_groups_are_one_problem(slices: Path) -> None:
    for folder in ("images", "ground_truth", "scribbles"):
        for number in range(6):
            source = slices / "train" / folder / f"volume000_{number:02}.png"
            shutil.copy(source, slices / "train" / folder / f"volume002_{number:02}.png")
    assert found(examine(slices)) == [
        (
            "train/images/volume002_00.png",
            "duplicate",
            "has exactly the pixels of train/images/volume000_00.png: a leak between folds, unless groups.csv puts "
            "both in one group (5 more copies between volume000 and volume002)",
        )
    ]


def test_a_copy_in_another_split_is_a_leak_even_within_a_group(slices: Path) -> None:
    groups = slices / "test1/groups.csv"
    groups.write_text(groups.read_text().replace(",test1_volume000", ",volume001"))
    shutil.copy(slices / "train/images/volume001_05.png", slices / "test1/images/test1_volume000_05.png")
    assert [(one.kind, one.text) for one in examine(slices).problems][1:] == [
        ("duplicate", "has exactly the pixels of train/images/volume001_05.png: a leak between train and test1")
    ]


def test_changed_copies_between_groups_are_found(slices: Path) -> None:
    pixels = np.asarray(Image.open(slices / "train/images/volume000_02.png"))
    Image.fromarray((pixels * 0.9).astype(np.uint8)).save(slices / "test1/images/test1_volume000_03.png")
    (problem,) = examine(slices).problems
    words = "shows the same picture as train/images/volume000_02.png: a leak between train and test1"
    assert problem.text.startswith(words)
