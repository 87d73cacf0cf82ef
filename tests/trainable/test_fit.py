"""``fit`` on several classes: mistakes before anything is decoded, what it says about the loss, and its table."""

import shutil

import pytest

from trainable.errors import UserError
from trainable.fit import Request, fit_fold
from trainable.printing import Format

SMALL = ("encoder=test_resnet", "attention=none", "batch_size=4", "steps=1", "evaluations=1", "size=64x64")


@pytest.fixture
def fit(class_folder, tmp_path, small_cache, capsys, monkeypatch):
    """Train a fold and return what is printed on stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*assignments, data=class_folder, cache=small_cache, validation=None, until=None):
        request = Request(
            data=data,
            fold=0,
            folds=2,
            fold_seed=0,
            out=tmp_path / "fold",
            assignments=(*SMALL, *assignments),
            metric="dice_volume",
            until=until,
            device="cpu",
            workers=0,
            checkpoint_seconds=120.0,
            probabilities=False,
            split="train",
            validation=validation,
            cache=cache,
        )
        assert fit_fold(request, Format.table) == 0
        return capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("gone", "assignments", "validation", "message"),
    [
        (None, ["class_weights=1,2"], None, "class_weights: 2 weights for 4 classes"),
        ("train/ground_truth", [], None, "has no ground_truth/; use supervision=scribbles"),
        ("train/scribbles", [], None, "has no scribbles/; use inputs=image"),
        (None, [], "val", "has no split 'val'"),
        (None, [], "train", "validation = train: is the split that is trained on"),
    ],
)
def test_mistakes_are_found_before_anything_is_decoded(
    fit, class_folder, tmp_path, gone, assignments, validation, message
):
    data = shutil.copytree(class_folder, tmp_path / "data")
    if gone:
        shutil.rmtree(data / gone)
    with pytest.raises(UserError, match=message):
        fit(*assignments, data=data, cache=tmp_path / "cache", validation=validation)
    assert not (tmp_path / "cache").exists() and not (tmp_path / "fold").exists()


def test_a_fold_of_scribbles_names_its_loss_and_warns_of_inputs_that_show_it(fit):
    printed = fit("supervision=scribbles")
    assert "unet, pce on scribbles, augmentation" in printed.err and "iou loss" not in printed.err
    assert "warning: with supervision=scribbles and inputs=image+scribble a network sees" in printed.err


def test_the_usual_pairings_are_without_a_warning(fit):
    printed = fit("supervision=scribbles", "inputs=image")
    assert "warning" not in printed.err and "dice_volume" in printed.out.splitlines()[0]


def test_progress_counts_to_the_end_of_a_fold_that_is_to_train_beyond_it(fit):
    assert "step 1/1 " in fit("supervision=scribbles", "inputs=image", until=3).err
