"""Prediction and evaluation of splits, folders and files, bad files included, and resuming."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.ensembles import predict as prediction
from analysis.ensembles.assemble import assemble
from analysis.ensembles.inputs import find_inputs
from trainable.data.reading import read_mask, read_scribble
from trainable.errors import UserError
from trainable.objectives.boundary import boundary_f1
from trainable.objectives.metrics import count, scores
from trainable.storage.checked_json import read_checked, write_checked


@pytest.fixture(scope="module")
def ensemble(small_run, tmp_path_factory):
    config = min(path.name for path in (small_run.folder / "configs").iterdir())
    folder, _ = assemble(small_run, [config], "none", tmp_path_factory.mktemp("ensemble"))
    return folder


@pytest.fixture
def analysis(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def program(*words):
        done = CliRunner().invoke(app, [str(word) for word in words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return program


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def mixed(small_folder, tmp_path):
    """A split whose images have two sizes."""
    split = tmp_path / "mixed"
    shutil.copytree(small_folder / "test1", split)
    for folder in ("images", "scribbles"):
        path = min((split / folder).iterdir())
        Image.fromarray(pixels_of(path)).resize((50, 70), Image.Resampling.NEAREST).save(path)
    return split


def test_a_split_of_mixed_sizes_gives_a_mask_for_each_image_at_its_own_size(analysis, ensemble, mixed, tmp_path):
    done = analysis("predict", ensemble, mixed, "--out", "masks", "--probabilities", "--batch", 2)
    assert done.exit_code == 0, done.output
    for path in (mixed / "images").iterdir():
        mask = pixels_of(tmp_path / f"masks/{path.stem}.png")
        assert mask.shape == pixels_of(path).shape[:2] and set(np.unique(mask)) <= {0, 1}
        probability = pixels_of(tmp_path / f"masks/probabilities/{path.stem}.png") / 65535
        certain = np.abs(probability - 0.5) > 1e-4
        assert np.array_equal((mask > 0)[certain], (probability > 0.5)[certain])


def test_batches_do_not_change_a_mask(analysis, ensemble, small_folder, tmp_path):
    for batch in (1, 3):
        analysis(
            "predict", ensemble, small_folder / "test1", "--out", f"by{batch}", "--batch", batch, "--probabilities"
        )
    for path in (tmp_path / "by1/probabilities").iterdir():
        one, three = (pixels_of(tmp_path / f"by{b}/probabilities/{path.name}") for b in (1, 3))
        assert np.abs(one.astype(int) - three).max() <= 2


def test_bad_images_are_reported_and_the_others_predicted(analysis, ensemble, small_folder, tmp_path):
    split = shutil.copytree(small_folder / "test1", tmp_path / "bad")
    good, cut, alone = sorted((split / "images").iterdir())
    cut.write_bytes(cut.read_bytes()[:500])
    (split / "scribbles" / f"{alone.stem}.png").unlink()
    (split / "images/scan.tif").touch()
    (split / "images/Thumbs.db").touch()
    done = analysis("predict", ensemble, split, "--out", "masks")
    assert done.exit_code == 1 and "3 images left out" in done.stderr
    assert "scan.tif: has an unsupported format; convert it to one of .jpg, .jpeg, .png" in done.stderr
    assert f"{cut}: cannot be read" in done.stderr and f"{alone}: has no scribble" in done.stderr
    assert [path.name for path in (tmp_path / "masks").glob("*.png")] == [f"{good.stem}.png"]


def test_single_files_with_scribbles_from_elsewhere(analysis, ensemble, small_folder, tmp_path):
    first = min((small_folder / "test1/images").iterdir())
    lonely = tmp_path / first.name
    shutil.copy(first, lonely)
    with pytest.raises(UserError, match="--scribbles DIR"):
        analysis("predict", ensemble, lonely, "--out", "masks")
    done = analysis("predict", ensemble, lonely, "--scribbles", small_folder / "test1/scribbles", "--out", "masks")
    assert done.exit_code == 0 and (tmp_path / f"masks/{first.stem}.png").exists()


def test_each_split_has_scribbles_of_its_own(tmp_path):
    pairs = (("first", "a"), ("second", "b"), ("third", "c"))
    for split, stem in pairs:
        for folder in ("images", "scribbles"):
            (tmp_path / split / folder).mkdir(parents=True)
            (tmp_path / split / folder / f"{stem}.png").touch()
    (tmp_path / "second/scribbles/a.png").touch()
    given = [tmp_path / "first", tmp_path / "second/images", tmp_path / "third/images/c.png"]
    inputs, problems = find_inputs(given, None)
    told = [(each.image, each.scribble) for each in inputs]
    assert not problems and told == [
        (tmp_path / f"{split}/images/{stem}.png", tmp_path / f"{split}/scribbles/{stem}.png") for split, stem in pairs
    ]
    shutil.rmtree(tmp_path / "second/scribbles")
    with pytest.raises(UserError, match=r"second/images: has no scribbles/ in it or beside it"):
        find_inputs(given, None)
    inputs, problems = find_inputs(given, None, needed=False)
    assert [each.scribble is None for each in inputs] == [False, True, False] and not problems


def test_an_interrupted_prediction_resumes_identically(analysis, ensemble, small_folder, tmp_path, monkeypatch):
    words = ("predict", ensemble, small_folder / "test1", "--batch", 1)
    analysis(*words, "--out", "whole")
    write, done = prediction._write, []

    def stop(*told):
        if done:
            raise KeyboardInterrupt
        done.append(told)
        write(*told)

    monkeypatch.setattr(prediction, "_write", stop)
    assert analysis(*words, "--out", "parts").exit_code == 130
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert "2 masks written to parts, 1 existed already" in analysis(*words, "--out", "parts").stderr
    for path in (tmp_path / "whole").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes()


def test_masks_of_other_options_are_not_mixed_in(analysis, ensemble, small_folder, tmp_path):
    words = ("predict", ensemble, small_folder / "test1", "--out", "masks")
    analysis(*words)
    with pytest.raises(UserError, match="other options"):
        analysis(*words, "--respect-scribbles")
    with pytest.raises(UserError, match="other options"):
        analysis(*words, "--tta", "flips")
    assert analysis(*words, "--tta", "none").exit_code == 0, "which is how the ensemble was built"
    path = tmp_path / "masks/predictions.json"
    record = read_checked(path)
    record["made_by"]["tta"] = None  # as version 0.2 wrote it
    write_checked(path, record)
    assert analysis(*words).exit_code == 0
    (tmp_path / "pictures").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "pictures/mine.png")
    with pytest.raises(UserError, match="that this program did not write"):
        analysis(*words[:-1], "pictures")


def test_masks_of_images_of_the_same_names_from_elsewhere_are_not_kept(analysis, ensemble, small_folder, tmp_path):
    elsewhere = tmp_path / "other/test1"
    shutil.copytree(small_folder / "test1", elsewhere)
    first, *others = sorted((elsewhere / "images").iterdir())
    analysis("predict", ensemble, small_folder / "test1", "--out", "masks")
    with pytest.raises(UserError, match=rf"from images in .*test1/images, not {elsewhere}/images; choose another"):
        analysis("predict", ensemble, elsewhere, "--out", "masks")
    for path in others:
        path.unlink()
    for folder in ("images", "scribbles"):
        (path,) = (elsewhere / folder).glob(f"{first.stem}.*")
        path.rename(path.with_stem("added"))
    assert "1 mask written" in analysis("predict", ensemble, elsewhere, "--out", "masks").stderr, "of another name"
    both = analysis("predict", ensemble, small_folder / "test1", elsewhere, "--out", "masks")
    assert "0 masks written to masks, 4 existed already" in both.stderr
    analysis("predict", ensemble, small_folder / "test1", "--out", "more")
    assert "1 mask written" in analysis("predict", ensemble, small_folder / "test1", elsewhere, "--out", "more").stderr


def test_masks_are_written_into_the_folder_of_an_ensemble_only_on_request(analysis, ensemble, small_folder, tmp_path):
    folder = shutil.copytree(ensemble, tmp_path / "ensemble")
    image = next(iter(sorted((small_folder / "train/images").iterdir())))
    with pytest.raises(UserError, match=r"contains ensemble\.pt, so it is no folder of masks; --force"):
        analysis("predict", ensemble, image, "--out", folder)
    assert not (folder / f"{image.stem}.png").exists()
    analysis("predict", ensemble, image, "--out", folder, "--force")
    assert (folder / f"{image.stem}.png").exists()


def test_scribbled_pixels_get_their_label_with_the_option(analysis, ensemble, small_folder, tmp_path):
    analysis("predict", ensemble, small_folder / "test1", "--out", "free")
    analysis("predict", ensemble, small_folder / "test1", "--out", "bound", "--respect-scribbles")
    disagreed = 0
    for path in (small_folder / "test1/scribbles").iterdir():
        scribble = read_scribble(path)
        free, bound = (pixels_of(tmp_path / f"{name}/{path.stem}.png") for name in ("free", "bound"))
        marked = scribble != 255
        assert np.array_equal(bound[marked], scribble[marked]) and np.array_equal(bound[~marked], free[~marked])
        disagreed += int((free[marked] != scribble[marked]).sum())
    assert disagreed, "a model that agrees with every scribble would prove nothing"


def test_masks_of_training_images_are_not_scored(analysis, ensemble, small_folder, tmp_path, monkeypatch):
    """Also under new names, in another file format, and after an interruption between the masks of a batch."""
    split = tmp_path / "renamed"
    for folder in ("images", "scribbles", "ground_truth"):
        (split / folder).mkdir(parents=True)
        for path in sorted((small_folder / "train" / folder).iterdir())[:2]:
            Image.fromarray(pixels_of(path)).save(split / folder / f"new_{path.stem.split('_')[-1]}.png")
    done = analysis("predict", ensemble, split, "--out", "masks")
    assert done.exit_code == 0 and "2 of these images were trained on" in done.stderr
    with pytest.raises(UserError, match=r"2 of these images .* were trained on by members"):
        analysis("evaluate", "masks", split)

    write, written = prediction._write, []

    def stop(*given):
        if written:
            raise KeyboardInterrupt
        written.append(write(*given))

    monkeypatch.setattr(prediction, "_write", stop)
    assert analysis("predict", ensemble, split, "--out", "parts").exit_code == 130
    assert len(list((tmp_path / "parts").glob("*.png"))) == 1
    with pytest.raises(UserError, match=r"were trained on by members"):
        analysis("evaluate", "parts", split)


def test_training_images_that_were_not_there_are_said_to_be_unknown(
    analysis, small_run, small_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("analysis.ensembles.assemble.data_folder", lambda _: tmp_path / "gone")
    built = analysis("ensemble", small_run.folder, "--out", "built")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    image = min((small_folder / "train/images").iterdir())
    done = analysis("predict", "built", image, "--out", "masks")
    assert "were trained on" not in done.stderr
    for output in (built.stderr, done.stderr):
        assert "note: 20 of 20 training images were missing when the ensemble was built" in output
    (tmp_path / "built/ensemble.json").unlink()
    assert "note: there is no ensemble.json" in analysis("predict", "built", image, "--out", "masks").stderr


def test_evaluation_pools_and_lists_images_worst_first(analysis, small_folder, tmp_path):
    truths = sorted((small_folder / "train/ground_truth").iterdir())[:4]
    (tmp_path / "masks").mkdir()
    for number, path in enumerate(truths):
        Image.fromarray(np.roll(read_mask(path), 2 * number, axis=1)).save(tmp_path / f"masks/{path.stem}.png")
    done = analysis("evaluate", "masks", small_folder / "train", "--format", "json")
    assert done.exit_code == 1 and "has no mask" in done.stderr, "sixteen truths have no mask"
    document = json.loads(done.stdout)
    pairs = [(np.roll(read_mask(path), 2 * n, axis=1) > 0, read_mask(path) > 0) for n, path in enumerate(truths)]
    expected = scores(np.stack([count(ours, theirs) for ours, theirs in pairs]))
    assert {key: document[key] for key in expected} == pytest.approx(expected)
    assert document["images"] == 4 and 0 < document["boundary_f1"] < 1
    told = [row["miou"] for row in document["per_image"]]
    assert told == sorted(told) and told[-1] == 1.0


@pytest.mark.parametrize(
    ("masks", "message"),
    [("nowhere", "no such folder"), ("empty", "contains no mask"), ("strangers", "no mask there has")],
)
def test_masks_without_truths_are_an_error(analysis, small_folder, tmp_path, masks, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "strangers").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "strangers/who.png")
    with pytest.raises(UserError, match=message):
        analysis("evaluate", masks, small_folder / "train")


def test_boundary_f1_worked_out_by_hand():
    truth = np.zeros((100, 100), np.uint8)
    truth[20:60, 20:60] = 1
    assert boundary_f1(truth, truth) == 1.0
    moved = np.roll(truth, 1, axis=1)
    assert boundary_f1(moved, truth) == 1.0, "one pixel is within 0.75 % of a diagonal of 141"
    assert boundary_f1(np.roll(truth, 30, axis=0), truth) < 0.5
    nothing = np.zeros_like(truth)
    assert boundary_f1(nothing, truth) == 0.0 and boundary_f1(nothing, nothing) == 1.0
    # A 40 pixel square against its upper half, nothing tolerated: the upper half's outline has 116 pixels, of which
    # 77 lie on the square's (156 pixels): precision 78 / 116, recall 78 / 156.
    half = truth.copy()
    half[40:] = 0
    assert boundary_f1(half, truth, tolerance=0.0) == pytest.approx(2 * 78 / (116 + 156))
