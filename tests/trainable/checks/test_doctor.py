"""What the doctor says about a whole data set: its statistics, document and text, and splits that lack something."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from checked_samples import (
    HEIGHT,
    IMAGE,
    SCRIBBLE,
    TRUTH,
    WIDTH,
    cut_short,
    mask,
    paint,
    picture,
    problems,
    save,
    scribble,
)
from PIL import Image

from trainable.checks.diagnosis import as_document, print_diagnosis, problem_rows
from trainable.checks.doctor import examine
from trainable.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[3]
REAL = Path(os.environ.get("SCRIBBLE_DATA") or REPOSITORY.parent / "shared" / "data" / "scribbles")


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
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["images", "0", "with", "masks,", str(diagnosis.images(False)), "without"]
    assert lines[-1] == f"Next: python -m trainable fit {data} --set supervision=scribbles --set inputs=image"


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
