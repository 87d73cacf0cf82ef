"""What a declared data set may lack: masks, scribbles, slices; and images that do not fit together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from trainable.checks.diagnosis import Diagnosis, as_document, print_diagnosis
from trainable.checks.doctor import examine

TRUTH, SCRIBBLES = "train/ground_truth", "train/scribbles"


def found(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    return [(str(one.file.relative_to(diagnosis.folder)), one.kind, one.text) for one in diagnosis.problems]


def remove(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        path.unlink()


def enlarge(data: Path, stem: str) -> None:
    for folder in ("images", "ground_truth", "scribbles"):
        path = data / "train" / folder / f"{stem}.png"
        image = Image.open(path)
        image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST).save(path)


def test_missing_masks_are_counted_with_what_follows(slices: Path) -> None:
    remove(slices / TRUTH, "volume001_0*")
    diagnosis = examine(slices)
    assert found(diagnosis) == [
        (
            TRUTH,
            "no masks",
            "has no mask for 6 images (volume001_00, volume001_01, volume001_02, ...); "
            "trained on only with supervision=scribbles, and not scored",
        )
    ]
    assert diagnosis.errors == 0


def test_missing_scribbles_are_counted_with_what_follows(slices: Path) -> None:
    remove(slices / SCRIBBLES, "volume001_00.png")
    assert found(examine(slices)) == [
        (
            SCRIBBLES,
            "no scribbles",
            "has no scribble for 1 image (volume001_00); not trained on with supervision=scribbles",
        )
    ]


def test_without_masks_images_without_scribbles_are_not_scored_either(slices: Path) -> None:
    shutil.rmtree(slices / TRUTH)
    remove(slices / SCRIBBLES, "volume001_00.png")
    assert examine(slices).problems[-1].text.endswith("with supervision=scribbles, and not scored")


def test_a_declared_set_may_have_no_masks(slices: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(slices / TRUTH)
    diagnosis = examine(slices)
    ((file, kind, text),) = found(diagnosis)
    assert (file, kind) == ("train", "no masks")
    assert text.startswith("has no ground_truth folder: can be trained on with supervision=scribbles only")
    assert diagnosis.mean is not None
    print_diagnosis(diagnosis)
    assert capsys.readouterr().out.splitlines()[-1].endswith(" --set supervision=scribbles --set inputs=image")


def test_a_declared_set_may_have_no_scribbles(slices: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(slices / SCRIBBLES)
    diagnosis = examine(slices)
    assert found(diagnosis) == [
        ("train", "no scribbles", "has no scribbles folder: can be trained on with supervision=masks only")
    ]
    print_diagnosis(diagnosis)
    assert capsys.readouterr().out.splitlines()[-1] == f"Next: python -m trainable fit {slices} --set inputs=image"


def test_further_mistakes_of_a_table_are_counted_after_those_that_are_listed(slices: Path) -> None:
    path = slices / "train/volumes.csv"
    path.write_text("stem,volume,slice\n" + "".join(f"stranger{k},v,{k}\n" for k in range(25)))
    texts = [text for _, kind, text in found(examine(slices)) if kind == "volumes"]
    assert texts[0].startswith("line 2: no image") and texts[-1] == "and 5 more mistakes"


def test_without_any_label_there_is_nothing_to_train_on(slices: Path) -> None:
    shutil.rmtree(slices / TRUTH)
    shutil.rmtree(slices / SCRIBBLES)
    diagnosis = examine(slices)
    assert found(diagnosis) == [("train", "split", "has neither masks nor scribbles, there is nothing to train on")]
    assert diagnosis.errors == 1


def test_a_test_split_may_have_images_alone_but_not_some_masks(slices: Path) -> None:
    shutil.rmtree(slices / "test1/scribbles")
    assert found(examine(slices)) == []
    (slices / "test1/ground_truth").mkdir()
    shutil.copy(slices / TRUTH / "volume000_00.png", slices / "test1/ground_truth/test1_volume000_00.png")
    ((file, kind, text),) = found(examine(slices))
    assert (file, kind) == ("test1/ground_truth", "no masks")
    assert text.startswith("has no mask for 5 images (test1_volume000_01, ")
    assert text.endswith("; not scored")


def test_labels_without_an_image_are_an_error(slices: Path) -> None:
    shutil.copy(slices / TRUTH / "volume000_00.png", slices / TRUTH / "alone.png")
    diagnosis = examine(slices)
    assert (diagnosis.errors, found(diagnosis)[0][:2]) == (1, (f"{TRUTH}/alone.png", "missing partner"))


def test_missing_slices_are_named_with_their_volume(slices: Path) -> None:
    volumes = slices / "train/volumes.csv"
    text = volumes.read_text().replace("volume000,5", "volume000,9").replace("volume001,5", "volume001,6")
    volumes.write_text(text.replace("volume001,1\n", "volume001,-2\n"))
    assert found(examine(slices)) == [
        (
            "train/volumes.csv",
            "missing slices",
            "leaves volume 'volume000' without slices 5 to 8: is an image missing?",
        ),
        (
            "train/volumes.csv",
            "missing slices",
            "leaves volume 'volume001' without slices -1, 1, 5: is an image missing?",
        ),
    ]


def test_one_missing_slice_is_singular_and_a_volume_may_start_anywhere(slices: Path) -> None:
    volumes = slices / "train/volumes.csv"
    volumes.write_text(volumes.read_text().replace("volume000,0", "volume000,7"))
    assert [text for _, _, text in found(examine(slices))] == [
        "leaves volume 'volume000' without slice 6: is an image missing?"
    ]


def test_a_volume_of_slices_of_several_sizes_is_a_warning(slices: Path) -> None:
    enlarge(slices, "volume000_04")
    diagnosis = examine(slices)
    assert found(diagnosis) == [
        ("train/images", "mixed sizes", "has images of 2 sizes; all are resized to 96x64"),
        ("train/volumes.csv", "mixed sizes", "gives volume 'volume000' slices of 2 sizes: 5 of 96x80, 1 of 192x160"),
    ]
    assert diagnosis.errors == 0


def test_volumes_of_different_sizes_are_only_said_to_be_resized(slices: Path) -> None:
    for number in range(6):
        enlarge(slices, f"volume000_0{number}")
    assert [file for file, _, _ in found(examine(slices))] == ["train/images"]


def test_a_mask_of_another_size_than_its_image_is_an_error(slices: Path) -> None:
    path = slices / TRUTH / "volume000_00.png"
    Image.open(path).crop((0, 0, 96, 70)).save(path)
    diagnosis = examine(slices)
    assert found(diagnosis)[0] == (f"{TRUTH}/volume000_00.png", "size", "is 96x70, but its image 96x80")
    assert diagnosis.errors == 1


def test_volumes_beside_the_splits_are_not_read(slices: Path) -> None:
    shutil.copy(slices / "train/volumes.csv", slices / "volumes.csv")
    assert found(examine(slices)) == [("volumes.csv", "not read", "is ignored here; move it to train/volumes.csv")]


def test_a_file_of_volumes_that_is_named_but_nowhere_is_a_warning(slices: Path) -> None:
    with (slices / "dataset.yaml").open("a") as file:
        file.write("volumes: slices.csv\n")
    assert ("dataset.yaml", "not read", "names slices.csv as the file of volumes, which no split has") in found(
        examine(slices)
    )


def test_people_and_programs_see_what_each_split_holds(slices: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(slices / "test1/scribbles")
    diagnosis = examine(slices)
    print_diagnosis(diagnosis)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "train: 18 images, 18 masks, 18 scribbles, 3 volumes, 3 groups" in lines
    assert "test1: 6 images, no labels, 1 volume, 1 group" in lines
    train = as_document(diagnosis)["splits"]["train"]
    assert {key: train[key] for key in ("masks", "scribbles", "volumes", "groups")} == {
        "masks": 18,
        "scribbles": 18,
        "volumes": 3,
        "groups": 3,
    }
