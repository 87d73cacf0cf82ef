"""The command from a run's models to masks: what it reads, writes and says, and who applies it."""

import csv
import io
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from noisy_disks import noisy
from PIL import Image
from scored_run import scored_run
from typer.testing import CliRunner

from analysis import load_ensemble
from analysis.__main__ import app
from analysis.answer.selection import winner_of
from analysis.ensembles.ensemble import Ensemble, read_member
from analysis.refinement.chain import read_chain
from analysis.refinement.steps.components import Holes
from analysis.refinement.steps.registry import ORDER
from analysis.refinement.steps.thresholds import Threshold
from analysis.tuning import candidates
from analysis.tuning.refine import steps_to_try, summary
from search.runs.run_folder import Run
from search.runs.run_tables import read_run
from trainable.data.folds import load_folds
from trainable.data.reading import read_image, read_mask, read_scribble
from trainable.errors import UserError
from trainable.objectives.metrics import count, scores
from trainable.storage.checked_json import read_checked, write_checked

QUICK = ("--skip", "crf", "--skip", "relaxation")  # without the steps that take seconds
CHAIN = [{"step": "threshold", "tau": 0.3}, {"step": "holes", "share": 1.0}, {"step": "scribbles"}]


@pytest.fixture(autouse=True)
def cheap(small_cache, monkeypatch):
    """Few settings of the slow steps: the field, whose lattices take most of the time, and costs of a border."""
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(small_cache))
    few = {"APPEARANCE": (10.0,), "POSITION": (0.1,), "COLOUR": (16.0,), "BORDERS": (0.1,), "SMALLEST": (0.002, 0.02)}
    for name, values in few.items():
        monkeypatch.setattr(candidates, name, values)


def program(*words, fails=False):
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0 or fails, done.output
    return done


def copy_of(run, home):
    shutil.copytree(run.folder, home / run.name, ignore=shutil.ignore_patterns("last.pt", "previous.pt"))
    return Run(home / run.name)


@pytest.fixture
def run(small_run, tmp_path):
    return copy_of(small_run, tmp_path)


@pytest.fixture(scope="module")
def winner(small_run):
    return winner_of(read_run(small_run)).config


def keep(run, config, data, probability_of):
    """Put probabilities of held-out images where training keeps them."""
    folds = load_folds(run.folder / "folds.json")
    for fold in range(folds.count):
        place = run.folder / f"configs/{config}/fold_{fold}/probabilities"
        place.mkdir()
        for stem in folds.held_out(fold):
            truth = read_mask(data.split.truth[stem], data.task)
            np.save(place / f"{stem}.npy", probability_of(stem, truth).astype(np.float16))


def write(run, config, steps=CHAIN, **values):
    """A refinement as if it had been chosen."""
    folder = run.folder / "analysis/refinement"
    folder.mkdir(parents=True, exist_ok=True)
    classes = ["background", "foreground"]
    document = {"version": 1, "config": config, "classes": classes, "steps": steps, **values}
    (folder / f"{config}.json").write_text(json.dumps(document))


def held_out_score(run, configs, data, tta="none"):
    """The mean over folds of what the averaged fold models score on the images that they did not train on."""
    folds, found = load_folds(run.folder / "folds.json"), []
    for fold in range(folds.count):
        members = [read_member(config, fold, run.folder / f"configs/{config}/fold_{fold}") for config in configs]
        counts = []
        for stem in folds.held_out(fold):
            image, scribble = read_image(data.split.images[stem]), read_scribble(data.split.scribbles[stem])
            mask = Ensemble(members, 0.5, tta).predict(image, scribble).mask
            counts.append(count(mask, read_mask(data.split.truth[stem], data.task)))
        found.append(scores(np.stack(counts))["miou"])
    return np.mean(found)


def mask_at(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_noise_in_kept_probabilities_is_removed_and_predict_does_the_same(run, winner, small_data, small_folder):
    keep(run, winner, small_data, lambda stem, truth: noisy(truth, 2, seed=int(stem.split("_")[-1]))[1])
    done = program("refine", run.folder)
    assert "crf (appearance" in done.stdout and "gain in miou" in done.stdout
    assert "Masks are refined by crf" in done.stderr
    document = json.loads((run.folder / f"analysis/refinement/{winner}.json").read_text())
    assert document["steps"][0]["step"] == "crf" and document["images"] == 20 and document["drawn"] == "image"
    best = document["tried"][-1]
    assert best["chosen"] and best["low"] > 0.1 and len(best["by_fold"]) == 3
    program("ensemble", run.folder)
    ensemble = load_ensemble(run.folder / "analysis/ensemble", "cpu")
    assert ensemble.refinement[0].name == "crf"
    assert not load_ensemble(run.folder / "analysis/ensemble", "cpu", refine=False).refinement


def test_without_kept_probabilities_the_fold_models_predict_what_training_scored(run, winner):
    document = json.loads(program("refine", run.folder, "--format", "json").stdout)
    scores = [
        json.loads((run.folder / f"configs/{winner}/fold_{fold}/scores.json").read_text())["best"]["original"]["miou"]
        for fold in range(3)
    ]
    assert document["score"] == pytest.approx(np.mean(scores), abs=1e-3), "but for half precision"
    steps = ["crf", "relaxation", "threshold", "smallest_component", "largest_component", "holes", "scribbles"]
    assert [row["step"] for row in document["tried"]] == [*steps, "best chain"]


def test_with_flips_the_choice_is_for_the_averages_of_each_fold_model(run, winner, small_data):
    keep(run, winner, small_data, lambda stem, truth: truth)  # of training, which does not flip
    others = [word for kind in ORDER if kind.name != "holes" for word in ("--skip", kind.name)]
    document = json.loads(program("refine", run.folder, *others, "--tta", "flips", "--format", "json").stdout)
    found = held_out_score(run, [winner], small_data, "flips")
    assert document["score"] == pytest.approx(found, abs=0.003) and document["tta"] == "flips"
    with pytest.raises(UserError, match="--tta 'flip': allowed are none and flips"):
        program("refine", run.folder, "--tta", "flip")


def test_for_several_configs_the_average_of_their_fold_models_is_refined(run, winner, small_data):
    (other,) = {path.name for path in (run.folder / "configs").iterdir()} - {winner}
    both = "+".join(sorted([winner, other]))
    program("ensemble", run.folder, "--top", 2)
    others = [word for kind in ORDER if kind.name != "threshold" for word in ("--skip", kind.name)]
    document = json.loads(program("refine", run.folder, *others, "--top", 2, "--format", "json").stdout)
    assert document["score"] == pytest.approx(held_out_score(run, [winner, other], small_data), abs=0.003)
    assert document["config"] == both and document["images"] == 20
    assert read_checked(run.folder / "analysis/ensemble/refinement.json") == read_checked(
        run.folder / f"analysis/refinement/{both}.json"
    )
    assert load_ensemble(run.folder / "analysis/ensemble", "cpu").refinement == read_chain(document["steps"], "")
    program("ensemble", run.folder)
    assert not (run.folder / "analysis/ensemble/refinement.json").exists(), "it is not for the winner alone"
    keep(run, other, small_data, lambda stem, truth: 1 - truth)  # at least as certain as the winner, and wrong
    kept = json.loads(program("refine", run.folder, *others, "--top", 2, "--format", "json").stdout)
    assert kept["score"] < document["score"]
    with pytest.raises(UserError, match="--config and --top exclude each other"):
        program("refine", run.folder, "--top", 2, "--config", winner)


def test_nothing_helps_where_everything_is_right(run, winner, small_data, small_folder, tmp_path):
    keep(run, winner, small_data, lambda stem, truth: 0.02 + 0.96 * truth)
    program("ensemble", run.folder)
    done = program("refine", run.folder, "--format", "csv")
    assert "Nothing helps" in done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["chosen"] for row in rows] == ["False"] * 8 and list(rows[0])[:4] == ["step", "gain", "low", "high"]
    assert all(float(row["gain"]) <= 0 for row in rows)
    assert json.loads((run.folder / "analysis/ensemble/refinement.json").read_text())["steps"] == []
    words = ("predict", run.folder / "analysis/ensemble", small_folder / "test1", "--out", tmp_path / "masks")
    assert "refined" not in program(*words).stderr


def test_the_answer_does_not_deny_that_a_single_step_helps():
    def row(step, gain, low, high):
        return {"step": step, "gain": gain, "low": low, "high": high, "setting": [{"step": step}], "words": step}

    chain = {**row("best chain", 0.004, -0.001, 0.009), "words": "crf, then holes"}
    document = {"metric": "miou", "steps": [], "tried": [row("crf", 0.003, 0.001, 0.005), chain]}
    text = summary(document)
    assert text.startswith(
        "Masks stay as they are: the best chain, crf, then holes, changes miou by +0.004 (95 % inter"
    )
    assert "no loss (crf) are not used instead" in text
    document["tried"][0] = row("crf", 0.003, -0.001, 0.005)
    assert summary(document).endswith("(95 % interval -0.001 to +0.009), which is no certain gain.")


def test_volumes_of_several_classes_are_the_units_of_their_metric(class_run, tmp_path):
    run = copy_of(class_run, tmp_path)
    config = winner_of(read_run(run)).config
    document = json.loads(program("refine", run.folder, "--format", "json").stdout)
    assert document["metric"] == "dice_volume" and document["drawn"] == "group" and document["images"] == 24
    assert [row["step"] for row in document["tried"]][:3] == ["crf", "relaxation", "class_weights"]
    scores = [
        json.loads((run.folder / f"configs/{config}/fold_{fold}/scores.json").read_text())["best"]["original"]
        for fold in range(3)
    ]
    assert document["score"] == pytest.approx(np.mean([each["dice_volume"] for each in scores]), abs=1e-3)


def test_steps_that_scores_of_scribbles_cannot_judge_are_not_tried(scribble_run, tmp_path):
    run = copy_of(scribble_run, tmp_path)
    done = program("refine", run.folder, "--format", "json", *QUICK)
    steps = ["smallest_component", "largest_component", "holes", "best chain"]
    assert [row["step"] for row in json.loads(done.stdout)["tried"]] == steps
    assert "note: scribbles: not tried" in done.stderr and "note: class_weights: not tried" in done.stderr


@pytest.mark.parametrize(
    ("inputs", "masks", "scribbles", "left_out"),
    [
        ("image+scribble", True, True, {}),
        ("image", True, True, {"scribbles": "images without scribbles"}),
        ("image", True, False, {"scribbles": "no image has any"}),
        ("image", False, True, {"scribbles": "no masks", "threshold": "show no borders"}),
    ],
)
def test_a_step_is_left_out_with_its_reason(small_data, inputs, masks, scribbles, left_out):
    labelled = {"masked": small_data.masked & masks, "scribbled": small_data.scribbled & scribbles}
    kinds, notes = steps_to_try(replace(small_data, **labelled), inputs == "image+scribble")
    assert kinds == [kind for kind in ORDER if kind.name not in left_out]
    assert len(notes) == len(left_out)
    for name, reason in left_out.items():
        assert any(note.startswith(f"{name}: not tried") and reason in note for note in notes)


def test_steps_can_be_skipped(run, small_data):
    kinds, notes = steps_to_try(small_data, False, ["crf", "scribbles"])
    assert [kind.name for kind in ORDER if kind not in kinds] == ["crf", "scribbles"]
    assert "crf: not tried, as --skip says" in notes
    with pytest.raises(UserError, match=r"--skip crff: unknown step. Did you mean 'crf'\?"):
        program("refine", run.folder, "--skip", "crff")
    with pytest.raises(UserError, match="no step is left"):
        program("refine", run.folder, *[word for kind in ORDER for word in ("--skip", kind.name)])
    others = [kind.name for kind in ORDER if kind.name not in ("scribbles", "class_weights")]
    with pytest.raises(UserError, match=r"no step is left to try .*; scribbles: not tried, the model is for images"):
        steps_to_try(small_data, False, others)


def test_masks_are_refined_unless_told_otherwise(run, winner, small_folder, tmp_path):
    write(run, winner)
    program("ensemble", run.folder)
    split, ensemble = small_folder / "test1", run.folder / "analysis/ensemble"
    done = program("predict", ensemble, split, "--out", tmp_path / "refined", "--probabilities")
    assert "refined by threshold (tau 0.3), then holes (share 1), then scribbles" in done.stderr
    program("predict", ensemble, split, "--out", tmp_path / "plain", "--no-refine", "--probabilities")
    for path in (tmp_path / "plain").glob("*.png"):
        probability = mask_at(tmp_path / f"plain/probabilities/{path.name}") / 65535
        same = tmp_path / f"refined/probabilities/{path.name}"
        assert same.read_bytes() == (tmp_path / f"plain/probabilities/{path.name}").read_bytes(), "before refinement"
        assert np.array_equal(mask_at(path) > 0, probability > 0.5)
        scribble = read_scribble(split / f"scribbles/{path.name}")
        mask = mask_at(tmp_path / "refined" / path.name)
        assert np.array_equal(mask[scribble < 255], scribble[scribble < 255])
        assert (mask[(probability > 0.3) & (scribble == 255)] == 1).all()
    with pytest.raises(UserError, match="other options"):
        program("predict", ensemble, split, "--out", tmp_path / "plain", "--probabilities")


def test_the_python_api_refines_the_mask_and_not_the_probability(run, winner, small_data, tmp_path):
    write(run, winner)
    program("ensemble", run.folder)
    stem = small_data.stems[0]
    image, scribble = read_image(small_data.split.images[stem]), read_scribble(small_data.split.scribbles[stem])
    ours = load_ensemble(run.folder / "analysis/ensemble", "cpu").predict(image, scribble)
    plain = load_ensemble(run.folder / "analysis/ensemble", "cpu", refine=False).predict(image, scribble)
    assert np.array_equal(ours.probability, plain.probability)
    assert np.array_equal(plain.mask, plain.probability > 0.5)
    assert np.array_equal(ours.mask[scribble < 255], scribble[scribble < 255])
    assert (ours.mask[(ours.probability > 0.3) & (scribble == 255)] == 1).all()


def test_evaluate_says_what_masks_were_refined_by_and_scores_them_before(run, winner, small_folder, tmp_path):
    """On new images, as those of training are refused."""
    write(run, winner)
    program("ensemble", run.folder)
    split = shutil.copytree(small_folder / "test1", tmp_path / "new")
    (split / "ground_truth").mkdir()
    for path in (split / "scribbles").iterdir():
        Image.fromarray((read_scribble(path) == 1).astype(np.uint8)).save(split / "ground_truth" / path.name)
    found = {}
    for name, words in {"refined": ("--probabilities",), "plain": ("--no-refine",), "bare": ()}.items():
        program("predict", run.folder / "analysis/ensemble", split, "--out", tmp_path / name, *words)
        done = program("evaluate", tmp_path / name, split, "--format", "json")
        found[name] = json.loads(done.stdout)
        assert ("refined by threshold (tau 0.3)" in done.stderr) == (name != "plain")
    assert found["refined"]["refinement"] == CHAIN and "refinement" not in found["plain"]
    before = json.loads(program("evaluate", tmp_path / "refined", split, "--no-refine", "--format", "json").stdout)
    assert before == found["plain"] and before["miou"] != found["refined"]["miou"]
    again = program("evaluate", tmp_path / "plain", split, "--no-refine", "--format", "json")
    assert json.loads(again.stdout) == before
    with pytest.raises(UserError, match=r"bare: has no probabilities/.*predict --probabilities writes them"):
        program("evaluate", tmp_path / "bare", split, "--no-refine")
    record = read_checked(tmp_path / "refined/predictions.json")
    record["made_by"]["respect_scribbles"] = True
    write_checked(tmp_path / "refined/predictions.json", record)
    with pytest.raises(UserError, match="predict --no-refine --respect-scribbles makes them"):
        program("evaluate", tmp_path / "refined", split, "--no-refine")
    assert program("evaluate", tmp_path / "refined", split).exit_code == 0


def test_an_export_contains_the_refinement_and_says_what_onnx_lacks(run, winner, tmp_path, monkeypatch):
    """The graph is that of the networks alone, whose export other tests check."""
    monkeypatch.setattr("analysis.exports.export.export_onnx", lambda ensemble, path: float(path.write_bytes(b"") or 0))
    write(run, winner)
    done = program("export", run.folder, "--out", tmp_path / "out", "--format", "json")
    facts = json.loads(done.stdout)
    assert facts["refinement"] == CHAIN and facts["onnx_refinement"] == "none"
    assert json.loads((tmp_path / "out/export.json").read_text()) == facts
    assert "none of it is inside ensemble.onnx" in done.stderr
    text = (tmp_path / "out/README.md").read_text()
    assert "refines the masks by threshold (tau 0.3)" in text
    assert "None of these steps is inside `ensemble.onnx`" in text
    assert "  refinement.json\n" in (tmp_path / "out/SHA256SUMS").read_text()
    assert load_ensemble(tmp_path / "out", "cpu").refinement[:2] == (Threshold(0.3), Holes(1.0))
    facts = json.loads(
        program(
            "export", run.folder, "--out", tmp_path / "out", "--no-refine", "--no-onnx", "--force", "--format", "json"
        ).stdout
    )
    assert "refinement" not in facts and "refinement" not in (tmp_path / "out/README.md").read_text()
    assert not (tmp_path / "out/refinement.json").exists() and not load_ensemble(tmp_path / "out", "cpu").refinement


def test_an_ensemble_of_other_configs_has_no_refinement(run, winner):
    write(run, winner)
    ensemble = run.folder / "analysis/ensemble"
    program("ensemble", run.folder)
    assert (ensemble / "refinement.json").exists()
    program("ensemble", run.folder, "--top", 2)
    assert not (ensemble / "refinement.json").exists()
    shutil.copy(run.folder / f"analysis/refinement/{winner}.json", ensemble / "refinement.json")
    with pytest.raises(UserError, match=rf"was chosen for config {winner}, but the ensemble consists of .*--no-refine"):
        load_ensemble(ensemble, "cpu")
    program("refine", run.folder, *QUICK)
    assert (ensemble / "refinement.json").read_bytes(), "one that is not of this config is left alone"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "has version 2, this program reads version 1"),
        ({"classes": ["background", "ring"]}, "is for the classes background, ring"),
        ({"steps": [{"step": "blur"}]}, "unknown step 'blur'"),
        (None, "is damaged"),
    ],
)
def test_a_refinement_that_cannot_be_used_is_an_error(run, winner, change, message):
    write(run, winner, **{"steps": CHAIN, **(change or {})})
    program("ensemble", run.folder)
    path = run.folder / "analysis/ensemble/refinement.json"
    if change is None:
        path.write_text("{")
    with pytest.raises(UserError, match=f"refinement.json: {message}"):
        load_ensemble(run.folder / "analysis/ensemble", "cpu")


def test_unknown_and_incomplete_configs_and_runs_without_models_are_refused(run, winner, tmp_path):
    near = winner[:-1] + ("0" if winner[-1] != "0" else "1")
    with pytest.raises(UserError, match=rf"config '{near}': no configs of .* start with it. Did you mean '{winner}'"):
        program("refine", run.folder, "--config", near)
    (run.folder / f"configs/{winner}/fold_1/best.pt").unlink()
    with pytest.raises(
        UserError, match=rf"has no finished model of fold_1; .*: python -m search finish \S+ --config {winner} --runs "
    ):
        program("refine", run.folder)
    scripted, _ = scored_run(tmp_path / "scripted", {"loss": {"values": ["iou", "dice"]}}, [([0.8] * 3, 1.0)] * 2)
    with pytest.raises(UserError, match="save no models"):
        program("refine", scripted.folder)
    assert not (run.folder / "analysis/refinement").exists()


def test_a_temporary_folder_without_room_is_an_error_before_anything_is_predicted(run, monkeypatch):
    """Two settings of borders for 20 images of 96 x 80, in half precision."""
    monkeypatch.setattr(candidates, "BORDERS", (0.1, 0.5))
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10**6))
    monkeypatch.setattr("analysis.tuning.refine.held_out_images", lambda *given: pytest.fail("predicted"))
    needed = 20 * 96 * 80 * (3 + 2 + 2 * (1 + 2)) / 1e6
    with pytest.raises(UserError, match=rf"held-out images need {needed:.2f} MB here and 1 MB are free: .* TMPDIR"):
        program("refine", run.folder)


def test_other_data_than_those_of_the_run_are_refused(run, small_folder, tmp_path):
    data = shutil.copytree(small_folder, tmp_path / "data")
    first = min((data / "train/images").iterdir())
    Image.fromarray(255 - mask_at(first)).save(first)
    (run.folder / "space.yaml").write_text(json.dumps({**run.space().canonical(), "data": str(data)}))
    with pytest.raises(UserError, match=r"folds.json: was made for other data"):
        program("refine", run.folder)
