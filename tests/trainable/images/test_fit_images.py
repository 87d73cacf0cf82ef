"""``fit`` with a method: mistakes before anything is segmented, a fold to its end, a pause and its resumption."""

import json
import shutil

import pytest
from fold_models_run import write_fold_models
from typer.testing import CliRunner

from trainable.__main__ import app
from trainable.data.folds import folds_of
from trainable.data.image_files import open_files
from trainable.errors import UserError


@pytest.fixture
def fit(small_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words, data=small_folder):
        done = CliRunner().invoke(app, ["fit", str(data), "--folds", "4", "--device", "cpu", *words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


def test_a_fold_is_segmented_to_its_end_and_scored(fit, tmp_path):
    done = fit("--fold", "1", "--set", "method=random_walker", "--out", "fold", "--format", "csv")
    assert done.exit_code == 0 and "random_walker, size original: fold 1 of 4, 5 images to segment" in done.stderr
    assert done.stdout.startswith("weights,step,size,miou") and "best,100,original,0." in done.stdout
    assert json.loads((tmp_path / "fold/config.json").read_text())["method"] == "random_walker"


def test_until_pauses_and_the_same_command_resumes(fit, tmp_path):
    words = ("--set", "method=nearest", "--set", "steps=10", "--set", "evaluations=5", "--out", "fold")
    done = fit(*words, "--until", "4")
    assert (
        done.exit_code == 0
        and "Paused; nothing is lost" in done.stderr
        and not (tmp_path / "fold/scores.json").exists()
    )
    lines = [line for line in fit(*words, "--until", "99").stderr.splitlines() if line.startswith("step")]
    assert [line.split()[1] for line in lines] == ["4/10", "6/10", "8/10", "10/10"] and "5 images  miou 0." in lines[-1]


@pytest.mark.parametrize(
    ("words", "gone", "problem"),
    [
        (["method=grabcutt"], None, "Did you mean 'grabcut'"),
        (["method=nearest", "loss=dice"], None, "unknown hyperparameter 'loss'"),
        (["method=nearest", "walker_beta=3"], None, "walker_beta: belongs to method = random_walker"),
        (["method=nearest"], "scribbles", r"has no scribbles/, which is all that methods go by"),
        (["method=nearest"], "ground_truth", r"has no ground_truth/ to score with"),
    ],
)
def test_mistakes_are_one_line(fit, small_folder, tmp_path, words, gone, problem):
    data = shutil.copytree(small_folder, tmp_path / "data")
    (data / "dataset.yaml").write_text("classes: [background, foreground]\n")
    if gone:
        shutil.rmtree(data / "train" / gone)
    with pytest.raises(UserError, match=problem) as error:
        fit(*[part for word in words for part in ("--set", word)], data=data)
    assert "\n" not in str(error.value) and not (tmp_path / "runs").exists()


@pytest.fixture
def source(small_folder, tmp_path):
    return str(write_fold_models(tmp_path / "source", folds_of(open_files(small_folder), 4, 0)))


def test_a_fold_is_segmented_with_the_fold_model_that_never_saw_it(fit, source, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    words = [f"--set={each}" for each in ("method=colour_distributions", "features=fold", f"features_from={source}")]
    done = fit("--fold", "1", *words, "--out", "fold")
    assert done.exit_code == 0
    recorded = json.loads((tmp_path / "fold/pretrained.json").read_text())
    assert recorded["file"]["name"] == f"{source}/configs/first/fold_1/best.pt"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--fold-seed=1"], r"^features_from = .*: needs the same data and folds: .* fold_seed is 0, here it is 1$"),
        (["--folds=5"], r"^features_from = .*: needs the same data and folds: it has 4 folds, here there are 5$"),
        (["--set=features_from=other"], r"^features_from = other: no such run, here or in runs/$"),
    ],
)
def test_models_that_cannot_be_used_are_refused_before_a_folder_is_made(fit, source, tmp_path, words, problem):
    shared = [f"--set={each}" for each in ("method=finetune", "features=fold", f"features_from={source}")]
    with pytest.raises(UserError, match=problem):
        fit(*shared, *words, "--out", "fold")
    assert not (tmp_path / "fold").exists()


def test_a_validation_split_is_refused_because_nothing_is_learnt(fit):
    with pytest.raises(UserError, match="validation = test1: methods learn nothing from other images"):
        fit("--set", "method=nearest", "--validation", "test1")


@pytest.mark.parametrize(
    "words", [("--cache", "cache"), ("--workers", "0"), ("--checkpoint-seconds", "120"), ("--plugin", "parts.py")]
)
def test_options_of_networks_are_refused(fit, tmp_path, words):
    with pytest.raises(UserError, match=f"^{words[0]}: .* networks, not (for|to) methods on single images"):
        fit("--set", "method=nearest", *words)
    assert not (tmp_path / "runs").exists()


def test_parameters_lists_those_of_methods(fit):
    rows = json.loads(CliRunner().invoke(app, ["parameters", "--methods", "--format", "json"]).stdout)
    assert {"method", "size", "walker_beta"} <= {row["name"] for row in rows}
    assert next(row["only_with"] for row in rows if row["name"] == "walker_beta") == "method = random_walker"
