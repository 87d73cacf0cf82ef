"""The answer of a run of several classes: scores of volumes, of scribbled pixels alone, and of a validation split."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from dice_by_hand import dice_of_volumes, mean_of_known
from scored_run import scored_run
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.answer.comparison import compare_configs
from analysis.answer.disagreements import draw_disagreements
from analysis.answer.score_basis import validated, validation_scores
from analysis.answer.selection import corrected_score, select
from analysis.answer.summary_text import lines
from analysis.statistics.bootstrap import bias_corrected
from search.runs.run_tables import read_run
from trainable.augmentation.preview import caption
from trainable.data.decoded_images import open_data
from trainable.data.reading import read_image
from trainable.objectives.metrics import table_columns
from trainable.printing import digits
from trainable.training.checkpoint import load_network
from trainable.training.evaluate import evaluate

ON_SCRIBBLES = "The data have no masks: scores are of the scribbled pixels of held-out images only."


def program(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture(scope="module")
def tables(class_run):
    return read_run(class_run)


@pytest.fixture(scope="module")
def selection(tables):
    return select(tables)


def masks_of_fold(class_run, config, fold, data):
    """Predictions of the last weights at the working size, image by image, and the truths at that size."""
    import torch

    folder = class_run.folder / "configs" / config / f"fold_{fold}"
    network, _, _ = load_network(folder / "last.pt")
    stems = sorted(pd.read_parquet(folder / "images.parquet")["stem"].unique())
    masks, truths = {}, {}
    for stem in stems:
        index = data.indices([stem])
        labels = torch.from_numpy(np.array(data.labels[index]))
        with torch.inference_mode():
            logits = network(torch.from_numpy(np.array(data.images[index])), labels >> 4)
        masks[stem], truths[stem] = logits[0].argmax(0).numpy(), (labels[0] & 15).numpy()
    return masks, truths


def test_the_score_of_the_winner_is_the_dice_of_whole_volumes(class_run, class_folder, small_cache, tables, selection):
    data, winner = open_data(class_folder, (64, 64), cache=small_cache), selection.winner
    assert tables.metric == "dice_volume"
    for fold, told in enumerate(winner.folds):
        masks, truths = masks_of_fold(class_run, winner.config, fold, data)
        by_volume = dice_of_volumes(masks, truths, data.volumes, (1, 2, 3))
        assert len(by_volume) == 2
        by_class = [mean_of_known([values[label] for values in by_volume.values()]) for label in (1, 2, 3)]
        assert told == pytest.approx(np.mean(by_class), abs=0.003), "but for rounding in batches of other sizes"
    others = tables.full().drop(index=winner.config).mean(axis=1)
    assert winner.mean > others.max()


def test_the_correction_resamples_volumes(tables, selection):
    images = tables.images(tables.complete()).sort_values(["config", "volume"])
    counts = tables.counts(images)
    by_hand = [
        [counts[(images["config"] == config) & (images["volume"] == volume)].sum(axis=0) for volume in range_of(images)]
        for config in tables.complete()
    ]
    folds = images.groupby("volume")["fold"].first().to_numpy()
    expected = bias_corrected(np.array(by_hand), folds, "dice_volume", task=tables.task)
    found = selection.corrected
    assert (found.estimate, found.low, found.high) == (expected.estimate, expected.low, expected.high)
    assert found.naive == pytest.approx(selection.winner.mean)
    assert 0 < found.low < found.estimate < found.high < 1, "two volumes in a fold are few, but no reason for nonsense"
    assert "over volumes)" in program("best", tables.run.folder).stdout


def test_slices_of_a_volume_that_folds_keep_together_are_resampled_together(tables):
    images = tables.images(tables.complete()).sort_values(["config", "fold", "stem"])
    counts = np.stack([tables.counts(rows) for _, rows in images.groupby("config", sort=False)])
    one = images[images["config"] == images["config"].iloc[0]]
    expected = bias_corrected(
        counts, one["fold"].to_numpy(), "dice", task=tables.task, groups=[f"group {each}" for each in one["volume"]]
    )
    found, _ = corrected_score(tables, sorted(tables.complete()), "dice")
    assert (found.estimate, found.low, found.high) == (expected.estimate, expected.low, expected.high)
    assert found.grouped and "over groups)" in " ".join(lines(tables, replace(select(tables), corrected=found)))


def test_the_correction_of_single_groups_is_left_out(tables, monkeypatch):
    folds = tables.images(tables.complete())[["stem", "fold"]].astype(str)
    monkeypatch.setattr(type(tables), "groups", dict(folds.itertuples(index=False)))
    found = select(replace(tables))
    assert found.corrected is None and any("holds out a single unit" in note for note in found.notes)


def range_of(images):
    return sorted(images["volume"].unique())


def test_the_correction_of_single_volumes_is_left_out(class_run, tables, monkeypatch):
    def single(self, *arguments, **options):
        images = real(self, *arguments, **options)
        return images.assign(volume=images["fold"].astype(str))

    real = type(tables).images
    monkeypatch.setattr(type(tables), "images", single)
    found = select(tables)
    assert found.corrected is None and any("holds out a single unit" in note for note in found.notes)


def test_a_comparison_lists_what_differs_with_defaults_of_what_is_not_recorded(tables):
    image, both = (tables.configs.set_index("inputs")["config"][name] for name in ("image", "image+scribble"))
    compared = compare_configs(tables, image, both)
    assert compared.parameters == {"inputs": ("image", "image+scribble")}
    assert (
        "They differ in inputs image against image+scribble."
        in program("compare", tables.run.folder, image, both).stdout
    )


def test_slices_are_compared_by_the_mean_dice_of_their_classes(tables):
    first, second = tables.complete()
    compared = compare_configs(tables, first, second)
    assert len(compared.images) == 24
    images = tables.images([first], "best", "original").set_index("stem")
    for row in compared.images.to_dict("records"):
        matrix = tables.counts(images.loc[[row["stem"]]])[0]
        values = []
        for label in (1, 2, 3):
            total = matrix[label].sum() + matrix[:, label].sum()
            values.append(2 * matrix[label, label] / total if total else None)
        assert row["a"] == pytest.approx(mean_of_known(values))


def test_a_slice_that_shows_nothing_is_not_compared(tables, monkeypatch):
    def emptied(self, *arguments, **options):
        """Background alone in truth and prediction of one slice, and of another one in those of one config."""
        images = real(self, *arguments, **options)
        first, second, *_ = sorted(images["stem"].unique())
        nothing = (images["stem"] == first) | ((images["stem"] == second) & (images["config"] == other))
        columns = list(table_columns(4))
        images.loc[nothing, columns] = [96 * 80] + [0] * 15
        return images

    real, (config, other) = type(tables).images, tables.complete()
    stems = sorted(real(tables, [config])["stem"].unique())
    monkeypatch.setattr(type(tables), "images", emptied)
    compared = compare_configs(tables, config, other)
    assert sorted(compared.images["stem"]) == stems[2:]
    why = "where neither truth nor prediction shows a class that counts"
    assert f"not compared: 2 images without dice of A or B, {why}" in compared.notes


def test_volumes_are_compared_as_a_whole(tables):
    first, second = tables.complete()
    compared = compare_configs(tables, first, second)
    assert len(compared.volumes) == 6
    gaps = compared.volumes["difference"].abs().tolist()
    assert gaps == sorted(gaps, reverse=True)
    for config, column in ((first, "a"), (second, "b")):
        images = tables.images([config], "best", "original")
        counts = tables.counts(images)
        for row in compared.volumes.to_dict("records"):
            matrix = counts[(images["volume"] == row["volume"]).to_numpy()].sum(axis=0)
            totals = [matrix[k].sum() + matrix[:, k].sum() for k in (1, 2, 3)]
            values = [2 * matrix[k, k] / total if total else None for k, total in zip((1, 2, 3), totals, strict=True)]
            assert row[column] == pytest.approx(mean_of_known(values))
    words = ("compare", tables.run.folder, first, second, "--worst", 0)
    assert "Of 6 volumes that both held out" in program(*words).stdout
    document = json.loads(program(*words, "--format", "json").stdout)
    assert document["image_metric"] == "dice" and len(document["volumes"]) == 6


def test_scores_of_slices_are_not_called_those_of_volumes(tables, tmp_path, monkeypatch):
    def noted(words, *width):
        captions.append(words)
        return caption(words, *width)

    captions = []
    monkeypatch.setattr("analysis.answer.disagreements.caption", noted)
    compared = compare_configs(tables, *tables.complete())
    draw_disagreements(tables, compared, 1, tmp_path / "picture.png", "cpu")
    row = compared.images.iloc[0]
    assert captions[-1] == [
        f"{row['stem']}, fold {row['fold']}: dice {digits(row['a'])} (A) and {digits(row['b'])} (B)"
    ]
    monkeypatch.setattr("analysis.__main__._draw", lambda *arguments: None)
    shown = program("compare", tables.run.folder, *tables.complete(), "--worst", 1).stdout
    assert "volumes that differ most, by dice\n" in shown and "images that differ most, by dice\n" in shown


def test_disagreements_are_drawn_in_class_colours(tables, tmp_path):
    compared = compare_configs(tables, *tables.complete())
    assert draw_disagreements(tables, compared, 2, tmp_path / "picture.png", "cpu") == 2
    picture = read_image(tmp_path / "picture.png")
    assert picture.shape[1] == 6 * 240 + 5 * 6
    truth = picture[:, 2 * 246 : 2 * 246 + 240].reshape(-1, 3)
    colours = {tuple(each) for each in truth.tolist()}
    assert {(230, 159, 0), (86, 180, 233)} <= colours, "ring and core in the column of truths"


def test_the_outline_of_a_structure_has_its_colour(class_data):
    from trainable.augmentation.preview import overlay
    from trainable.data.packed_labels import pack

    mask = np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 1
    drawn = overlay(np.full((20, 20), 128, np.uint8), pack(np.full((20, 20), 255, np.uint8), mask), 4)
    edge = np.zeros((20, 20), bool)
    edge[5:15, 5:15] = True
    edge[6:14, 6:14] = False
    assert (drawn[edge] == (230, 159, 0)).all() and (drawn[~edge] == 128).all()


def test_scores_without_masks_say_so_everywhere(scribble_run, tmp_path):
    first, second = read_run(scribble_run).complete()
    best = program("best", scribble_run.folder)
    assert ON_SCRIBBLES in best.stdout.splitlines()
    assert json.loads(program("best", scribble_run.folder, "--format", "json").stdout)["scored_on"] == "scribbles"
    words = ("compare", scribble_run.folder, first, second, "--worst", 0)
    assert ON_SCRIBBLES in program(*words).stdout.splitlines()
    assert json.loads(program(*words, "--format", "json").stdout)["scored_on"] == "scribbles"
    ensemble = ("ensemble", scribble_run.folder, "--out", tmp_path / "ensemble")
    assert "members, of scribbled pixels only" in program(*ensemble).stdout
    assert json.loads((tmp_path / "ensemble/ensemble.json").read_text())["scored_on"] == "scribbles"


def test_scores_on_masks_do_not_mention_scribbles(class_run, small_run, tmp_path):
    for run in (class_run, small_run):
        told = program("best", run.folder).stdout + program("ensemble", run.folder, "--out", tmp_path / run.name).stdout
        assert "scribbled pixels" not in told
        assert "scored_on" not in json.loads(program("best", run.folder, "--format", "json").stdout)


def test_the_validation_split_is_reported_separately(scribble_run):
    tables = read_run(scribble_run)
    winner = select(tables).winner.config
    folder = scribble_run.folder / "configs" / winner
    scores = [json.loads((folder / f"fold_{fold}/scores.json").read_text())["best"]["validation"] for fold in range(3)]
    mean = np.mean([each["dice"] for each in scores])
    sentence = "On val, which nothing was trained on or selected by, its 3 fold models have a mean dice of "
    sentence += f"{digits(mean)}."
    assert sentence in program("best", scribble_run.folder).stdout
    document = json.loads(program("best", scribble_run.folder, "--format", "json").stdout)
    assert document["validation"] == {"split": "val", "folds": scores}
    assert document["winner"]["mean"] != pytest.approx(mean), "the score of the run is that of its own folds"


@pytest.mark.parametrize(("metric", "shown"), [("dice_volume", "dice"), ("dice_volume_ring", "dice_ring")])
def test_a_validation_split_without_volumes_is_scored_by_its_pixels(scribble_run, metric, shown):
    tables = read_run(scribble_run)
    settings = tables.space.settings
    by_volume = settings.model_copy(update={"metric": settings.metric.model_copy(update={"name": metric})})
    tables = replace(tables, space=replace(tables.space, settings=by_volume))
    winner = tables.complete()[0]
    mean = np.mean([each[shown] for each in validation_scores(tables, winner)])
    assert validated(tables, winner) == (
        f"On val, which nothing was trained on or selected by, its 3 fold models have a mean {shown} of "
        f"{digits(mean)}; val has no volumes, so there is no {metric} of it."
    )


def test_a_run_without_data_has_the_usual_basis(tmp_path):
    run, _ = scored_run(tmp_path, {"loss": {"values": ["iou", "dice"]}}, [([0.8] * 3, 1.0), ([0.7] * 3, 1.0)])
    document = json.loads(program("best", run.folder, "--format", "json").stdout)
    assert "scored_on" not in document and "validation" not in document


def test_evaluating_the_last_weights_gives_the_scores_of_the_tables(class_run, class_folder, small_cache, tables):
    """The counts in the tables are those of the network's own predictions."""
    from contextlib import nullcontext

    import torch

    data, config = open_data(class_folder, (64, 64), cache=small_cache), tables.complete()[0]
    rows = tables.images([config]).query("fold == 1")
    network, settings, _ = load_network(class_run.folder / "configs" / config / "fold_1/last.pt")
    indices = data.indices(rows["stem"])
    found = evaluate(network, data, indices, settings, torch.device("cpu"), nullcontext)
    assert np.array_equal(found.counts, tables.counts(rows))
