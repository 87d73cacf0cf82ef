"""Every kind of problem is planted once in a clean data set and must be found with its file, alone and all at once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainable.checks.diagnosis import Diagnosis, as_document, print_diagnosis, problem_rows
from trainable.checks.doctor import examine
from trainable.data.dataset import Pixels
from trainable.errors import UserError

WIDTH, HEIGHT = 72, 48
REPOSITORY = Path(__file__).resolve().parents[3]
REAL = Path(os.environ.get("SCRIBBLE_DATA") or REPOSITORY.parent / "shared" / "data" / "scribbles")


def picture(seed: int) -> Pixels:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def scribble() -> Pixels:
    labels = np.full((HEIGHT, WIDTH), 255, np.uint8)
    labels[20, 25:40] = 1
    labels[5, 10:60] = 0
    return labels


def mask() -> Pixels:
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[12:30, 20:48] = 1
    return labels


def save(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six labelled samples and two without truth, in the formats that are allowed."""
    for k in range(8):
        split = tmp_path / "data" / ("train" if k < 6 else "test1")
        save(split / "images" / f"p{k}.{'png' if k % 2 else 'jpg'}", picture(k))
        save(split / "scribbles" / f"p{k}.png", np.repeat(scribble()[..., None], 3, 2) if k % 3 else scribble())
        if k < 6:
            save(split / "ground_truth" / f"p{k}.png", mask() * (255 if k == 4 else 1))
    return tmp_path / "data"


def problems(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    return [(str(one.file.relative_to(diagnosis.folder)), one.kind, one.severity) for one in diagnosis.problems]


def test_a_clean_set_has_no_problem(data: Path) -> None:
    assert examine(data).problems == ()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def paint(path: Path, value: int, rows: slice = slice(None), columns: slice = slice(None)) -> None:
    pixels = np.array(Image.open(path))
    pixels[rows, columns] = value
    save(path, pixels)


def turn_by_exif(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)


def transparent(path: Path) -> None:
    Image.open(path).convert("RGBA").save(path)
    paint(path, 0, slice(10))


def sixteen_bits(path: Path) -> None:
    Image.fromarray(picture(1)[..., 0].astype(np.uint16) * 200).save(path)


IMAGE, SCRIBBLE, TRUTH = "train/images", "train/scribbles", "train/ground_truth"
Plant = Callable[[Path], object]

# What is done to the data set, and the file, kind and words of the one problem that this must be.
PLANTED: dict[str, tuple[Plant, str, str, str]] = {
    "a scribble is missing": (
        lambda data: (data / SCRIBBLE / "p0.png").unlink(),
        f"{IMAGE}/p0.jpg",
        "missing partner",
        "has no partner p0.* in scribbles",
    ),
    "a mask is missing": (
        lambda data: (data / TRUTH / "p0.png").unlink(),
        f"{IMAGE}/p0.jpg",
        "missing partner",
        "has no partner p0.* in ground_truth",
    ),
    "an image is missing": (
        lambda data: (data / IMAGE / "p0.jpg").unlink(),
        f"{SCRIBBLE}/p0.png",
        "missing partner",
        "has no partner p0.* in images",
    ),
    "a mask stands alone": (
        lambda data: save(data / TRUTH / "alone.png", mask()),
        f"{TRUTH}/alone.png",
        "missing partner",
        "has no partner alone.* in images and in scribbles",
    ),
    "two files share a stem": (
        lambda data: save(data / IMAGE / "p0.png", picture(0)),
        f"{IMAGE}/p0.png",
        "shared stem",
        "shares its stem with p0.jpg",
    ),
    "an image is cut short": (
        lambda data: cut_short(data / IMAGE / "p0.jpg"),
        f"{IMAGE}/p0.jpg",
        "unreadable",
        "damaged or truncated",
    ),
    "a mask is cut short": (
        lambda data: cut_short(data / TRUTH / "p0.png"),
        f"{TRUTH}/p0.png",
        "unreadable",
        "damaged or truncated",
    ),
    "a scribble is text": (
        lambda data: (data / SCRIBBLE / "p0.png").write_text("no picture"),
        f"{SCRIBBLE}/p0.png",
        "unreadable",
        "damaged or truncated",
    ),
    "an image is empty": (
        lambda data: (data / IMAGE / "p0.jpg").write_bytes(b""),
        f"{IMAGE}/p0.jpg",
        "unreadable",
        "damaged or truncated",
    ),
    "an image leads nowhere": (
        lambda data: ((data / IMAGE / "p0.jpg").unlink(), (data / IMAGE / "p0.jpg").symlink_to("nowhere.jpg")),
        f"{IMAGE}/p0.jpg",
        "unreadable",
        "does not exist",
    ),
    "a scribble has a label too many": (
        lambda data: paint(data / SCRIBBLE / "p0.png", 7, slice(3)),
        f"{SCRIBBLE}/p0.png",
        "labels",
        "contains the labels 7; allowed are 0 background, 1 foreground, 255 unlabelled",
    ),
    "a mask has a label too many": (
        lambda data: paint(data / TRUTH / "p0.png", 2, slice(3)),
        f"{TRUTH}/p0.png",
        "labels",
        "contains the labels 2; allowed are 0 and 1",
    ),
    "a scribble is coloured": (
        lambda data: save(data / SCRIBBLE / "p0.png", picture(0)),
        f"{SCRIBBLE}/p0.png",
        "labels",
        "has different channels",
    ),
    "a mask has another size": (
        lambda data: save(data / TRUTH / "p0.png", mask()[:40]),
        f"{TRUTH}/p0.png",
        "size",
        "is 72x40, but its image 72x48",
    ),
    "a scribble has another size": (
        lambda data: save(data / SCRIBBLE / "p0.png", scribble()[:, :70]),
        f"{SCRIBBLE}/p0.png",
        "size",
        "is 70x48, but its image 72x48",
    ),
    "a mask was drawn on the image turned upright": (
        lambda data: save(data / TRUTH / "p0.png", mask().T),
        f"{TRUTH}/p0.png",
        "size",
        "is 48x72, but its image 72x48: rotated by 90 degrees",
    ),
    "groups of unknown images": (
        lambda data: (data / "train" / "groups.csv").write_text("stem,group\np0,a\np9,a\n"),
        "train/groups.csv",
        "groups",
        "line 3: no image has the stem 'p9'",
    ),
    "groups without their column": (
        lambda data: (data / "train" / "groups.csv").write_text("stem,patient\np0,a\n"),
        "train/groups.csv",
        "groups",
        "needs the columns stem and group",
    ),
    "a split without images": (
        lambda data: (data / "test2" / "images").mkdir(parents=True),
        "test2/images",
        "split",
        "contains no image",
    ),
    "groups of some images only": (
        lambda data: (data / "train" / "groups.csv").write_text("stem,group\np0,a\np1,a\np2,b\np3,b\n"),
        "train/groups.csv",
        "ungrouped",
        "lists no group for 2 images (p4, p5)",
    ),
    "no background scribble": (
        lambda data: paint(data / SCRIBBLE / "p0.png", 255, slice(5, 6)),
        f"{SCRIBBLE}/p0.png",
        "scribble",
        "has no background scribble",
    ),
    "no foreground scribble": (
        lambda data: paint(data / SCRIBBLE / "p0.png", 255, slice(20, 21)),
        f"{SCRIBBLE}/p0.png",
        "scribble",
        "has no foreground scribble",
    ),
    "no scribble at all": (
        lambda data: paint(data / SCRIBBLE / "p0.png", 255),
        f"{SCRIBBLE}/p0.png",
        "scribble",
        "has no scribble at all",
    ),
    "a scribble like a mask": (
        lambda data: save(data / SCRIBBLE / "p0.png", mask()),
        f"{SCRIBBLE}/p0.png",
        "scribble",
        "labels 100% of its pixels",
    ),
    "a scribble against the truth": (
        lambda data: paint(data / TRUTH / "p0.png", 1, slice(5, 6), slice(48, 72)),
        f"{SCRIBBLE}/p0.png",
        "contradiction",
        "12 scribbled pixels lie on the other class",
    ),
    "a 16-bit image": (
        lambda data: sixteen_bits(data / IMAGE / "p1.png"),
        f"{IMAGE}/p1.png",
        "colours",
        "more than 8 bits",
    ),
    "a transparent image": (
        lambda data: transparent(data / IMAGE / "p1.png"),
        f"{IMAGE}/p1.png",
        "colours",
        "transparent in places",
    ),
    "a turned photograph": (
        lambda data: turn_by_exif(data / IMAGE / "p0.jpg"),
        f"{IMAGE}/p0.jpg",
        "colours",
        "EXIF orientation (6)",
    ),
    "a picture in another format": (
        lambda data: save(data / IMAGE / "p9.bmp", picture(9)),
        f"{IMAGE}/p9.bmp",
        "not read",
        "convert it to one of .jpg, .jpeg, .png",
    ),
    "groups beside the splits": (
        lambda data: (data / "groups.csv").write_text("stem,group\np0,a\n"),
        "groups.csv",
        "not read",
        "move it to train/groups.csv",
    ),
    "volumes that nothing declares": (
        lambda data: (data / "train" / "volumes.csv").write_text("stem,volume,slice\np0,a,0\n"),
        "train/volumes.csv",
        "not read",
        "is ignored, since no dataset.yaml beside the splits declares the data set",
    ),
    "a dataset.yaml in a split": (
        lambda data: (data / "train" / "dataset.yaml").write_text("classes: [background, ring, core]\n"),
        "train/dataset.yaml",
        "not read",
        "is ignored here; move it to dataset.yaml, beside the splits",
    ),
    "a folder that is no split": (
        lambda data: (data / "test3" / "scribbles").mkdir(parents=True),
        "test3",
        "not read",
        "it has no folder images",
    ),
}
WARNINGS = ("scribble", "contradiction", "colours", "not read", "ungrouped")


@pytest.mark.parametrize(("plant", "file", "kind", "words"), PLANTED.values(), ids=PLANTED)
def test_a_planted_problem_is_found_with_its_file_and_nothing_else(
    data: Path, plant: Plant, file: str, kind: str, words: str
) -> None:
    plant(data)
    diagnosis = examine(data)
    assert problems(diagnosis) == [(file, kind, "warning" if kind in WARNINGS else "error")]
    assert words in diagnosis.problems[0].text


@pytest.mark.parametrize(
    ("value", "words", "wrong"),
    [(0, "is empty: no pixel is foreground", 15), (1, "is full: every pixel is foreground", 50)],
)
def test_a_mask_of_one_class_is_a_warning_and_contradicts_its_scribble(
    data: Path, value: int, words: str, wrong: int
) -> None:
    paint(data / TRUTH / "p0.png", value)
    diagnosis = examine(data)
    assert problems(diagnosis) == [
        (f"{TRUTH}/p0.png", "mask", "warning"),
        (f"{SCRIBBLE}/p0.png", "contradiction", "warning"),
    ]
    assert [one.text for one in diagnosis.problems] == [
        words,
        f"{wrong} scribbled pixels lie on the other class of the truth",
    ]


def test_each_mistake_of_the_groups_is_a_problem_in_the_order_of_lines(data: Path) -> None:
    rows = "".join(f"q{k},a\n" for k in range(10))
    (data / "train" / "groups.csv").write_text(f"stem,group\n{rows}")
    assert [one.text.split(":")[0] for one in examine(data).problems] == [f"line {k}" for k in range(2, 12)]


def test_all_problems_are_listed_errors_first(data: Path) -> None:
    cut_short(data / IMAGE / "p0.jpg")
    (data / SCRIBBLE / "p1.png").unlink()
    paint(data / TRUTH / "p2.png", 9, slice(3))
    save(data / TRUTH / "p3.png", mask()[:40])
    paint(data / SCRIBBLE / "p4.png", 255)
    save(data / IMAGE / "p5.png", picture(7))
    assert problems(examine(data)) == [
        (f"{IMAGE}/p1.png", "missing partner", "error"),
        (f"{IMAGE}/p0.jpg", "unreadable", "error"),
        (f"{TRUTH}/p2.png", "labels", "error"),
        (f"{TRUTH}/p3.png", "size", "error"),
        ("test1/images/p7.png", "duplicate", "warning"),
        (f"{SCRIBBLE}/p4.png", "scribble", "warning"),
    ]


def test_one_file_may_have_several_problems(data: Path) -> None:
    save(data / TRUTH / "p0.png", mask()[:40] * 3)
    assert problems(examine(data)) == [(f"{TRUTH}/p0.png", kind, "error") for kind in ("labels", "size")]


def test_a_copy_in_another_split_is_a_leak_between_splits(data: Path) -> None:
    save(data / "test1" / "images" / "p7.png", picture(3))
    (problem,) = examine(data).problems
    assert problem.file == data / "test1" / "images" / "p7.png"
    assert problem.text == "has exactly the pixels of train/images/p3.png: a leak between train and test1"


def test_a_mirrored_copy_within_the_training_split_is_a_leak_between_folds(data: Path) -> None:
    save(data / IMAGE / "p5.png", picture(3)[:, ::-1])
    (problem,) = examine(data).problems
    assert problem.file == data / IMAGE / "p5.png"
    assert problem.text.startswith("shows the same picture as train/images/p3.png, mirrored: a leak between folds")


def test_copies_that_a_group_keeps_together_are_no_leak(data: Path) -> None:
    save(data / IMAGE / "p5.png", picture(3))
    assert [one.kind for one in examine(data).problems] == ["duplicate"]
    groups = {"p0": "a", "p1": "b", "p2": "c", "p3": "d", "p4": "e", "p5": "d"}
    (data / "train" / "groups.csv").write_text("stem,group\n" + "".join(f"{k},{v}\n" for k, v in groups.items()))
    assert examine(data).problems == ()


def test_without_a_declaration_only_the_groups_of_the_training_split_are_read(data: Path) -> None:
    (data / "test1" / "groups.csv").write_text("stem,group\nunknown,a\n")
    assert examine(data).problems == ()


def test_the_statistics_equal_an_independent_computation(data: Path) -> None:
    files = sorted((data / IMAGE).iterdir())
    pixels = np.concatenate([np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3) for path in files]) / 255
    document = as_document(examine(data))
    assert document["mean"] == pytest.approx(pixels.mean(0))
    assert document["std"] == pytest.approx(pixels.std(0))
    # 18 x 28 of 48 x 72 pixels are foreground; 15 and 50 of them are scribbled on.
    assert document["foreground_share"] == pytest.approx(504 / 3456)
    assert document["background_to_foreground"] == pytest.approx(2952 / 504)
    expected = {"all": 65 / 3456, "foreground": 15 / 3456, "background": 50 / 3456}
    assert document["scribble_coverage"] == pytest.approx(expected)


def test_the_document_keeps_its_contract_and_is_json(data: Path) -> None:
    paint(data / SCRIBBLE / "p0.png", 255)
    document = json.loads(json.dumps(as_document(examine(data))))
    assert (document["images"], document["unlabelled"]) == (6, 2)
    assert (document["errors"], document["warnings"]) == (0, 1)
    assert document["size"] == [WIDTH, HEIGHT]
    assert document["sizes"] == {"72x48": 8}
    assert document["working_size"] == [64, 32]
    assert document["hash"] == document["splits"]["train"]["hash"] != document["splits"]["test1"]["hash"]
    assert [(k, v["images"], v["labelled"]) for k, v in document["splits"].items()] == [
        ("train", 6, True),
        ("test1", 2, False),
    ]
    (problem,) = document["problems"]
    assert problem == {
        "file": str(data / SCRIBBLE / "p0.png"),
        "severity": "warning",
        "kind": "scribble",
        "problem": "has no scribble at all",
    }


def test_sizes_may_be_mixed_between_samples(data: Path) -> None:
    for folder in (IMAGE, SCRIBBLE, TRUTH):
        path = next((data / folder).glob("p0.*"))
        save(path, np.repeat(np.repeat(np.asarray(Image.open(path)), 2, 0), 2, 1))
    document = as_document(examine(data))
    assert document["problems"] == []
    assert document["sizes"] == {"72x48": 7, "144x96": 1}


def test_images_smaller_than_the_stride_are_a_warning(tmp_path: Path) -> None:
    for folder, pixels in ((IMAGE, picture(0)), (SCRIBBLE, scribble()), (TRUTH, mask())):
        save(tmp_path / folder / "p0.png", pixels[:30])
    diagnosis = examine(tmp_path)
    assert problems(diagnosis) == [("train", "working size", "warning")]
    assert as_document(diagnosis)["working_size"] is None


def test_a_training_split_must_be_there(data: Path) -> None:
    (lacking,) = examine(data, split="trian").problems
    assert lacking.severity == "error"
    assert "only test1, train. Did you mean 'train'?" in lacking.text


def test_without_truth_there_are_scribbles_to_train_on(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(data / TRUTH)
    diagnosis = examine(data)
    assert problems(diagnosis) == [("train", "no masks", "warning")]
    assert diagnosis.problems[0].text == (
        "has no ground_truth folder: can be trained on with supervision=scribbles only, "
        "and is scored on scribbled pixels"
    )
    assert as_document(diagnosis)["mean"] is None
    print_diagnosis(diagnosis)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"Next: python -m trainable fit {data} --set supervision=scribbles --set inputs=image"


def test_without_truth_and_scribbles_there_is_nothing_to_train_on(data: Path) -> None:
    shutil.rmtree(data / TRUTH)
    shutil.rmtree(data / SCRIBBLE)
    assert ("train", "split", "error") in problems(examine(data))


def test_a_folder_without_splits_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contains no split"):
        examine(tmp_path)


def test_progress_counts_every_sample(data: Path) -> None:
    seen: list[tuple[int, int]] = []
    examine(data, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 8) for k in range(1, 9)]


def test_people_see_a_few_problems_of_every_kind_and_the_next_step(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_diagnosis(examine(data))
    assert capsys.readouterr().out.splitlines()[-1] == f"Next: python -m trainable fit {data}"
    for k in range(50):
        save(data / TRUTH / f"alone{k:02}[bold].png", mask())
    cut_short(data / IMAGE / "p0.jpg")
    diagnosis = examine(data)
    print_diagnosis(diagnosis)
    lines = capsys.readouterr().out.splitlines()
    assert "51 errors" in lines
    assert any(line.startswith(f"    {TRUTH}/alone00[bold].png has no partner") for line in lines)
    assert "    (+40 more; --format csv lists all)" in lines
    assert any(line.startswith(f"    {IMAGE}/p0.jpg cannot be read") for line in lines)
    assert lines[-1] == f"Fix the 51 errors, then run again: python -m trainable doctor {data}"
    assert len(problem_rows(diagnosis)) == 51


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real data set at {REAL}; SCRIBBLE_DATA names another place")
def test_the_real_data_set_is_found_as_it_is_known() -> None:
    diagnosis = examine(REAL)
    document = as_document(diagnosis)
    assert (document["images"], document["unlabelled"], document["errors"]) == (228, 226, 0)
    assert document["background_to_foreground"] == pytest.approx(3.883, abs=5e-4)
    assert document["mean"] == pytest.approx((0.459, 0.459, 0.422), abs=1e-3)
    assert document["std"] == pytest.approx((0.262, 0.263, 0.282), abs=1e-3)
    assert (document["size"], document["working_size"]) == ((500, 375), (480, 352))
    assert {(one.file.stem, one.text) for one in diagnosis.problems} == {
        (stem, "has no background scribble") for stem in ("2009_002972", "2010_002531", "2011_001601")
    }
