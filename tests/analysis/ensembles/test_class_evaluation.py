"""Scoring masks of several classes: per class, per volume, confusion, outlines, and ignored pixels left out."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from dice_by_hand import dice, dice_of_volumes, mean_of_known
from PIL import Image
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.ensembles.evaluate import evaluate_masks
from trainable.data.groups import read_volumes
from trainable.errors import UserError
from trainable.objectives.boundary import boundary_f1
from trainable.printing import digits
from trainable.storage.checked_json import write_checked

NAMES = ("ring", "core", "crescent")


def program(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def evaluated(*words):
    return json.loads(program("evaluate", *words, "--format", "json").stdout)


def pixels(folder):
    return {path.stem: np.array(Image.open(path)) for path in folder.glob("*.png")}


@pytest.fixture(scope="module")
def truths(class_folder):
    return pixels(class_folder / "train/ground_truth")


@pytest.fixture(scope="module")
def masks(truths, tmp_path_factory):
    """Truths moved to the right by some pixels, in one slice with two classes exchanged."""
    folder = tmp_path_factory.mktemp("masks")
    for number, (stem, truth) in enumerate(sorted(truths.items())):
        mask = np.roll(truth, number % 7, axis=1)
        if number == 0:
            mask = np.array([0, 2, 1, 3], np.uint8)[mask]
        Image.fromarray(mask).save(folder / f"{stem}.png")
    return folder


@pytest.fixture(scope="module")
def found(masks, class_folder):
    return evaluated(masks, class_folder / "train")


def test_pooled_dice_and_iou_of_each_class(found, masks, truths):
    ours, stems = pixels(masks), sorted(truths)
    mask, truth = np.stack([ours[stem] for stem in stems]), np.stack([truths[stem] for stem in stems])
    by_class = [dice(mask, truth, label) for label in (1, 2, 3)]
    assert [found[f"dice_{name}"] for name in NAMES] == pytest.approx(by_class)
    assert found["dice"] == pytest.approx(np.mean(by_class)), "the background is left out"
    ious = [((mask == k) & (truth == k)).sum() / ((mask == k) | (truth == k)).sum() for k in range(4)]
    assert [found[f"iou_{name}"] for name in ("background", *NAMES)] == pytest.approx(ious)
    assert found["miou"] == pytest.approx(np.mean(ious)) and found["images"] == 24
    assert found["pixel_accuracy"] == pytest.approx((mask == truth).mean())


def test_volumes_are_scored_as_whole_and_listed_worst_first(found, masks, truths, class_folder):
    places = read_volumes(class_folder / "train/volumes.csv", sorted(truths))
    volume_of = {stem: place.volume for stem, place in places.items()}
    expected = dice_of_volumes(pixels(masks), truths, volume_of, (1, 2, 3))
    for label, name in enumerate(NAMES, 1):
        assert found[f"dice_volume_{name}"] == pytest.approx(mean_of_known(v[label] for v in expected.values()))
    assert found["dice_volume"] == pytest.approx(np.mean([found[f"dice_volume_{name}"] for name in NAMES]))
    rows = found["per_volume"]
    assert {row["volume"]: [row[name] for name in NAMES] for row in rows} == {
        volume: [pytest.approx(values[label]) if values[label] is not None else None for label in (1, 2, 3)]
        for volume, values in expected.items()
    }
    assert [row["dice"] for row in rows] == sorted(row["dice"] for row in rows)
    assert [row["dice"] for row in rows] == pytest.approx([mean_of_known([row[n] for n in NAMES]) for row in rows])
    assert {row["slices"] for row in rows} == {4}


def test_confusion_is_the_share_of_each_true_class_that_is_predicted_as_each(found, masks, truths):
    ours, stems = pixels(masks), sorted(truths)
    mask, truth = np.stack([ours[stem] for stem in stems]), np.stack([truths[stem] for stem in stems])
    for label, row in enumerate(found["confusion"]):
        own = mask[truth == label]
        assert row["truth"] == ("background", *NAMES)[label] and row["pixels"] == own.size
        shares = [(own == other).mean() for other in range(4)]
        assert [row[name] for name in ("background", *NAMES)] == pytest.approx(shares)
    assert found["confusion"][1]["core"] > 0.005, "one slice takes the ring for the core"


def test_images_are_listed_worst_first_without_values_of_classes_not_shown(found, masks, truths):
    ours = pixels(masks)
    for row in found["per_image"]:
        mask, truth = ours[row["image"]], truths[row["image"]]
        values = [dice(mask, truth, label) for label in (1, 2, 3)]
        told = [row[f"dice_{name}"] for name in NAMES]
        assert told == [None if value is None else pytest.approx(value) for value in values]
        assert row["dice"] == pytest.approx(mean_of_known(values))
        assert [row[f"iou_{name}"] is None for name in NAMES] == [value is None for value in values]
    assert any(row["dice_crescent"] is None for row in found["per_image"]), "some slice must lack a class"
    told = [row["dice"] for row in found["per_image"]]
    assert told == sorted(told) and found["per_image"][0]["image"] == min(truths)


def test_outlines_are_compared_class_by_class_where_they_are_shown(found, masks, truths):
    ours, expected = pixels(masks), []
    for label, name in enumerate(NAMES, 1):
        shown = [stem for stem, truth in truths.items() if (truth == label).any() or (ours[stem] == label).any()]
        values = [boundary_f1(*((m[stem] == label).astype(np.uint8) for m in (ours, truths))) for stem in shown]
        expected.append(np.mean(values))
        assert found[f"boundary_f1_{name}"] == pytest.approx(expected[-1])
    assert found["boundary_f1"] == pytest.approx(np.mean(expected)) and 0 < found["boundary_f1"] < 1


@pytest.fixture
def ignoring(class_folder, tmp_path):
    """The truths with the upper half ignored."""
    folder = shutil.copytree(class_folder, tmp_path / "ignoring")
    (folder / "dataset.yaml").write_text("classes: [background, ring, core, crescent]\nignore_label: 255\n")
    for path in (folder / "train/ground_truth").iterdir():
        truth = np.array(Image.open(path))
        truth[:40] = 255
        Image.fromarray(truth).save(path)
    return folder / "train"


def test_ignored_pixels_count_for_nothing(ignoring, masks, tmp_path):
    before = evaluated(masks, ignoring)
    assert sum(row["pixels"] for row in before["confusion"]) == 24 * 40 * 96
    other = shutil.copytree(masks, tmp_path / "other")
    for path in other.iterdir():
        mask = np.array(Image.open(path))
        mask[:39] = 3  # the row above the known half may be part of an outline
        Image.fromarray(mask).save(path)
    after = evaluated(other, ignoring)
    assert {key: after[key] for key in before if "boundary" not in key and key != "per_image"} == {
        key: value for key, value in before.items() if "boundary" not in key and key != "per_image"
    }
    assert after["boundary_f1"] == pytest.approx(before["boundary_f1"])


def test_classes_can_be_given_for_truths_that_belong_to_no_data_set(ignoring, masks, found, tmp_path):
    loose = shutil.copytree(ignoring / "ground_truth", tmp_path / "loose" / "truths")
    told = evaluated(masks, loose, "--classes", "background, RV,MYO,LV")
    assert told["dice_RV"] == pytest.approx(evaluated(masks, ignoring)["dice_ring"]), "255 is ignored"
    assert "per_volume" not in told and "dice_volume" not in told and "dice_ring" not in told
    with pytest.raises(UserError, match="no image could be scored"):
        evaluated(masks, loose)


def test_probabilities_of_other_classes_are_a_problem(tmp_path):
    for name, rows in {"truths": 6, "masks": 6, "masks/probabilities": 3 * 6}.items():
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((rows, 4), np.uint8 if rows == 6 else np.uint16)).save(tmp_path / name / "a.png")
    made_by = {"refinement": [{"step": "holes", "share": 0.5}]}
    write_checked(tmp_path / "masks/predictions.json", {"made_by": made_by, "seen": [], "tau": 0.5})
    for classes in ("a,b", "a,b,c,d"):
        message = rf"probabilities/a.png: is no picture of the probabilities of {len(classes) // 2 + 1} classes at 4x6"
        with pytest.raises(UserError, match=message):
            evaluated(tmp_path / "masks", tmp_path / "truths", "--classes", classes, "--no-refine")
    whole = evaluated(tmp_path / "masks", tmp_path / "truths", "--classes", "a,b,c", "--no-refine")
    assert whole["iou_a"] == 1.0


@pytest.mark.parametrize(("classes", "noted"), [("ring core crescent", False), ("core ring crescent", True)])
def test_classes_of_the_ensemble_that_the_truth_numbers_otherwise_are_noted(
    masks, class_folder, tmp_path, classes, noted
):
    made = shutil.copytree(masks, tmp_path / "masks")
    record = {"made_by": {}, "seen": [], "tau": 0.5, "classes": ["background", *classes.split()]}
    write_checked(made / "predictions.json", record)
    notes = evaluated(made, class_folder / "train").get("notes", [])
    assert [f"predicted as background, {', '.join(classes.split())}," in note for note in notes] == [True] * noted
    renamed = evaluated(made, class_folder / "train", "--classes", "background,ring,core,crescent")
    assert "notes" not in renamed, "whoever names the classes knows their order"


def test_volumes_of_the_data_set_stay_when_its_classes_are_renamed(masks, found, class_folder):
    told = evaluated(masks, class_folder / "train/ground_truth", "--classes", "background,RV,MYO,LV")
    assert told["dice_volume_RV"] == pytest.approx(found["dice_volume_ring"])


@pytest.fixture
def labels(class_folder, tmp_path):
    """Truths without their images, in a folder with a name of its own beside volumes.csv."""
    folder = tmp_path / "hearts/other/labels"
    shutil.copytree(class_folder / "train/ground_truth", folder)
    shutil.copy(class_folder / "dataset.yaml", folder.parent.parent)
    shutil.copy(class_folder / "train/volumes.csv", folder.parent)
    return folder


def test_truths_in_any_folder_beside_a_list_of_volumes_are_scored_by_volume(labels, masks, found):
    assert evaluated(masks, labels) == found


def test_a_wrong_list_of_volumes_is_an_error_before_anything_is_scored(labels, masks):
    with (labels.parent / "volumes.csv").open("a") as file:
        file.write("none,volume000,9\n")
    scored = []
    with pytest.raises(UserError, match="no image has the stem 'none'"):
        evaluate_masks(masks, labels, lambda done, total: scored.append(done))
    assert not scored


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("background", "--classes: classes has 1 name; 2 to 15 are allowed"),
        ("background,ring,ring,core", "--classes: class 'ring' is listed twice"),
        ("background,r ng,core,x", "--classes: class 'r ng': use letters"),
        (",".join(f"c{k}" for k in range(16)), "has 16 names"),
    ],
)
def test_wrong_classes_are_one_line(masks, class_folder, classes, message):
    with pytest.raises(UserError, match=message) as error:
        evaluated(masks, class_folder / "train", "--classes", classes)
    assert "\n" not in str(error.value)


def test_a_mask_with_too_many_classes_or_255_is_a_problem(masks, class_folder, ignoring, tmp_path):
    other = shutil.copytree(masks, tmp_path / "other")
    first, second, *_ = sorted(other.iterdir())
    for path, value in ((first, 4), (second, 255)):
        mask = np.array(Image.open(path))
        mask[0, 0] = value
        Image.fromarray(mask).save(path)
    done = program("evaluate", other, class_folder / "train")
    assert done.exit_code == 1 and f"{first}: contains the labels 4; allowed are 0 background, 1 ring" in done.stderr
    done = program("evaluate", other, ignoring)
    assert f"{second}: contains 255; a predicted mask has a class for every pixel" in done.stderr


def test_the_tables_for_people_have_every_class_volume_and_the_confusion(masks, class_folder, found):
    text = program("evaluate", masks, class_folder / "train").stdout
    lines = [line.split() for line in text.splitlines()]
    assert ["class", "dice", "iou", "by", "volume", "boundary", "F1"] in lines
    for name in NAMES:
        values = [found[f"{metric}_{name}"] for metric in ("dice", "iou", "dice_volume", "boundary_f1")]
        assert [name, *(digits(value) for value in values)] in lines
    assert ["background", digits(found["iou_background"])] in lines, "which the mean IoU is of, too"
    mean = [line for line in lines if line[:1] == ["mean"]]
    assert mean == [["mean", *(digits(found[name]) for name in ("dice", "miou", "dice_volume", "boundary_f1"))]]
    worst = found["per_volume"][0]
    assert any(line[:3] == [worst["volume"], "4", digits(worst["dice"])] for line in lines)
    assert ["truth", "pixels", "background", *NAMES] in lines
    rows = list(
        csv.DictReader(io.StringIO(program("evaluate", masks, class_folder / "train", "--format", "csv").stdout))
    )
    assert len(rows) == 24 and float(rows[0]["dice"]) == pytest.approx(found["per_image"][0]["dice"])


@pytest.fixture
def lesions(tmp_path):
    """Masks and truths of two classes in three volumes of two slices each, of which ``b`` has no lesion in either.

    Each slice has a lesion of four pixels; masks have found all of ``a`` and a half of ``c``.
    """
    for name, folder in (("masks", tmp_path / "masks"), ("truths", tmp_path / "data/new/ground_truth")):
        folder.mkdir(parents=True)
        for volume in "abc":
            for number in range(2):
                pixels = np.zeros((4, 4), np.uint8)
                if volume != "b":
                    pixels[0, : 2 if (name, volume) == ("masks", "c") else 4] = 1
                Image.fromarray(pixels).save(folder / f"{volume}{number}.png")
    (tmp_path / "data/dataset.yaml").write_text("classes: [background, lesion]\n")
    rows = [f"{volume}{number},{volume},{number}" for volume in "abc" for number in range(2)]
    (tmp_path / "data/new/volumes.csv").write_text("\n".join(["stem,volume,slice", *rows]))
    return tmp_path / "masks", tmp_path / "data/new"


def test_a_volume_of_two_classes_that_shows_no_foreground_scores_1(lesions):
    found = evaluated(*lesions)
    assert {row["volume"]: (row["dice"], row["lesion"]) for row in found["per_volume"]} == {
        "a": (1, 1),
        "b": (1, 1),
        "c": (pytest.approx(2 / 3), pytest.approx(2 / 3)),  # 4 of 8 pixels: 2 * 4 / (4 + 8)
    }
    assert found["dice_volume"] == pytest.approx((1 + 1 + 2 / 3) / 3)


def test_volumes_of_two_classes_are_printed(lesions):
    lines = [line.split() for line in program("evaluate", *lesions, "--worst", 2).stdout.splitlines()]
    place = lines.index(["Dice", "by", "volume,", "the", "worst", "first"])
    assert lines[place + 1 :] == [["volume", "slices", "dice"], ["c", "2", "0.6667"], ["a", "2", "1.000"]]


def test_volumes_that_are_not_scored_as_a_whole_are_noted(lesions):
    masks, split = lesions
    assert "notes" not in evaluated(*lesions)
    for name in ("a0", "a1", "b0", "c1"):
        (masks / f"{name}.png").unlink()
    for folder in (masks, split / "ground_truth"):
        shutil.copy(folder / "b1.png", folder / "other.png")
    missing = "2 volumes are scored without 2 of their slices (b0, c1)"
    unlisted = f"{split / 'volumes.csv'}: does not list 1 image (other); each is scored as a volume of its own"
    assert evaluated(*lesions)["notes"] == [missing, unlisted], "nothing of volume a is scored"
    done = program("evaluate", *lesions)
    assert f"note: {missing}\n" in done.stderr and f"note: {unlisted}\n" in done.stderr
