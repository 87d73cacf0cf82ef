"""Runs, checkpoints, ensembles and exports that version 0.1.0 wrote: read, resumed and predicted with.

The archive and ``expected.json`` were written by version 0.1.0 with ``make_fixtures.py``, whose docstring lists what
they contain. Every expected value is one that version 0.1.0 computed from the same files.
"""

import csv
import hashlib
import json
import math
import os
import re
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from forked_child import CHILDREN
from PIL import Image
from typer.testing import CliRunner

from analysis import load_ensemble
from analysis.__main__ import app as analysis
from search import launch, open_run
from search.__main__ import app as search
from search.engine.listeners import Outcome
from search.policies.registry import policy_of
from search.runs.recovery import recover
from search.runs.run_folder import Run
from search.runs.status import status_of
from search.runs.study import EARLIER_PEERS, EARLIER_RULES, verdicts
from search.terminal.plain_view import print_outcome
from spaces.load import load_space
from trainable import folds_of, make_config, open_data, train_fold
from trainable.augmentation import levels
from trainable.errors import UserError

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXPECTED = json.loads((HERE / "expected.json").read_text())
FAULTY, FINISHED, STOPPED = "scripted/faulty", "finished/first", "stopped/first"
EARLIER = {FAULTY: EARLIER_RULES, FINISHED: EARLIER_PEERS, STOPPED: EARLIER_PEERS}  # a race and two grids
ROUNDING = 2e-4  # of a probability; processors differ in the order in which they add


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory):
    """The files of version 0.1.0. Tests must not write to them: they work on copies."""
    home = tmp_path_factory.mktemp("first-version")
    with tarfile.open(HERE / "first_version.tar.xz") as archive:
        archive.extractall(home, filter="data")
    yield home
    shutil.rmtree(home)  # 150 MB, mostly zeros


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("first-version-cache")


@pytest.fixture(autouse=True)
def here(unpacked, cache, monkeypatch):
    """The runs contain a relative path to their data."""
    monkeypatch.chdir(unpacked)
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(cache))


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ask(app, *words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def ask_json(app, *words):
    return json.loads(ask(app, *words, "--format", "json"))


def assert_contains(now, then, tolerance=1e-9, but=(), at=""):
    """All that version 0.1.0 computed is still there. New keys are allowed, and any value at the keys ``but``."""
    if isinstance(then, dict):
        for key in then.keys() - set(but):
            assert key in now, f"{at}.{key} is gone"
            assert_contains(now[key], then[key], tolerance, but, f"{at}.{key}")
    elif isinstance(then, list):
        assert len(now) == len(then), at
        for number, (one, other) in enumerate(zip(now, then, strict=True)):
            assert_contains(one, other, tolerance, but, f"{at}[{number}]")
    elif isinstance(then, float):
        assert now == pytest.approx(then, rel=tolerance, abs=tolerance, nan_ok=True), at
    else:
        assert now == then, at


def arithmetic():
    """What the last bits of a trained weight depend on."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return {
        "torch": torch.__version__,
        "processor": names[0] if names else "",
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


# With the processor and torch on which version 0.1.0 wrote the files, training gives the same bits. Others round
# differently, and every optimizer step amplifies it: without AVX, scores differed by 3e-5 after the two steps from the
# checkpoint, and by up to 0.04 after all eight.
SAME = arithmetic() == EXPECTED["arithmetic"]
# Crops of version 0.1.0 moved labels half a pixel. Training as it did, everything else gives what it gave.
LABELS_OF_THEN = """import cv2
from trainable.augmentation import levels
levels.RESIZED_LABELS = cv2.INTER_NEAREST
LOSSES = {"unused": abs}
"""
AFTER_TWO_STEPS, AFTER_ALL_STEPS = (1e-6, 1e-6) if SAME else (0.01, 0.1)  # tolerance of a score


def pixels(path, mode=None):
    with Image.open(path) as picture:
        return np.asarray(picture.convert(mode) if mode else picture)


def scores_of(rows):
    return {(row["config"], int(row["fold"]), int(row["step"])): float(row["score"]) for row in rows}


def digest(weights):
    found = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        found.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("run", [STOPPED, FINISHED, FAULTY])
def test_the_status_of_an_old_run_is_unchanged_but_for_its_peers(run):
    now, then = ask_json(search, "status", run), EXPECTED["status"][run]
    assert_contains(now, then, but=("peers",))
    assert set(then["peers"]) <= set(now["peers"]), "the current rules take no peer away"
    assert now["earlier_rules"] and EARLIER[run] in " ".join(ask(search, "status", run).split())


@pytest.mark.parametrize("run", [STOPPED, FINISHED, FAULTY])
def test_the_curves_of_an_old_run_are_unchanged_to_the_last_digit(run, tmp_path):
    ask(search, "curves", run, "--out", tmp_path / "curves.csv")
    with (tmp_path / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert_contains(rows, EXPECTED["curves"][run])
    assert (run == FAULTY) == any(math.isnan(float(row["score"])) for row in rows), "a failed fold has the score NaN"


def test_the_ledger_of_an_old_run_is_unchanged():
    assert_contains(ask_json(search, "ledger", FAULTY), EXPECTED["ledger"][FAULTY], but=("reason",))


@pytest.mark.parametrize("run", [FINISHED, FAULTY])
def test_the_winner_of_an_old_run_is_unchanged_and_its_set_is_that_of_the_present_posterior(run):
    now, then = ask_json(analysis, "best", run), EXPECTED["best"][run]
    posterior = ("set", "noise", "comparisons")  # the set now is that of the scheduler; each member is compared
    assert_contains(now, then, 1e-6, but=(*posterior, "notes", "missing", "reason"))
    assert [each["id"] for each in now["set"]] == ask_json(search, "status", run)["peers"]
    assert now["set"][0]["id"] == then["set"][0]["id"] and now["earlier_rules"]
    known = {each["other"]: each for each in then["comparisons"]}
    for each in now["comparisons"]:
        assert_contains(each, known.get(each["other"], {}))


def test_the_replay_of_an_old_run_is_unchanged_but_for_what_the_present_rules_decide():
    decided = {"halving": ("set_size",), "foldrace": ("cost", "wall")}
    rows = ask_json(search, "replay", FINISHED, "--processes", 1)
    for now, then in zip(rows, EXPECTED["replay"][FINISHED], strict=True):
        assert_contains(now, then, tolerance=1e-6, but=decided.get(then["scheduler"], ()), at=then["scheduler"])


@pytest.mark.parametrize(("run", "judged_differently"), [(FINISHED, []), (FAULTY, [111])])
def test_replaying_an_old_journal_keeps_its_reports_and_says_that_earlier_rules_decided(
    run, judged_differently, capsys
):
    old = Run(Path(run))
    kinds = {line.kind for line in old.lines()}
    assert run != FAULTY or {"begin", "config", "job", "report", "lost", "fault", "end"} <= kinds
    policy = policy_of(old.space())
    differing = [each for each in verdicts(policy, old.lines()) if type(each[1]) is not type(each[2])]
    assert [line for line, _, _ in differing] == judged_differently, "pauses of the race, which go by its rules"
    for line in old.lines():
        if line.kind == "report":
            then = line.fields
            score = policy.score_table.curve(then["config"], then["fold"])[then["step"]]
            assert np.array_equal(score, then["score"], equal_nan=True)
    print_outcome(old, policy, Outcome("every job is done"), [])
    assert EARLIER[run] in " ".join(capsys.readouterr().err.split())


def test_the_journal_of_an_old_run_is_rebuilt_from_its_fold_folders(tmp_path):
    shutil.copytree(FAULTY, tmp_path / "faulty")
    (tmp_path / "faulty/journal.jsonl").unlink()
    run = Run(tmp_path / "faulty")
    assert recover(run, run.space()) == EXPECTED["recovered"][FAULTY]
    assert not status_of(run).policy.earlier_rules, "a rebuilt journal has no decisions"
    before, after = (scores_of(open_run(folder).curves.to_dict("records")) for folder in (FAULTY, run.folder))
    assert before.keys() >= after.keys() and all(np.array_equal(after[k], before[k], equal_nan=True) for k in after)


@pytest.mark.parametrize("run", [STOPPED, FINISHED, FAULTY])
def test_an_old_run_has_a_report(run, tmp_path):
    ask(analysis, "report", run, "--out", tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert all(config in page for config in open_run(run).configs["config"])
    assert re.search(r"The search cost [\d.]+ CPU-", page), "which its space says, and not its journal"


def test_configs_keep_their_ids():
    """The id names a folder in every run, so a new hyperparameter must not change the ids of configs without it."""
    assert [make_config(each["values"]).id for each in EXPECTED["ids"]] == [each["id"] for each in EXPECTED["ids"]]


def test_a_stopped_old_run_resumes_and_ends_with_the_same_scores(unpacked, cache, tmp_path, fork_server, monkeypatch):
    monkeypatch.setattr(levels, "RESIZED_LABELS", cv2.INTER_NEAREST)  # the plugin is executed here, too
    shutil.copytree(STOPPED, tmp_path / "runs/first")
    shutil.copytree("data", tmp_path / "elsewhere")
    space = "runs/first/space.yaml"  # as version 0.1.0 wrote it
    (tmp_path / "labels.py").write_text(LABELS_OF_THEN)
    plugins = f"plugins=[{tmp_path / 'labels.py'}]"
    changes = [f"data={tmp_path / 'elsewhere'}", "resources={gpu: 0, cpu: 1}", "budget.trials=99", plugins]
    with pytest.raises(UserError, match="--force-code"):
        launch(tmp_path / space, changes, runs=tmp_path / "runs")
    journal = (tmp_path / "runs/first/journal.jsonl").read_bytes()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "SCRIBBLE_SEARCH_CACHE": str(cache),
        "OMP_NUM_THREADS": "1",
        "RAY_ADDRESS": "",
        "NO_COLOR": "1",
        CHILDREN: "1",
    }
    settings = [word for change in changes for word in ("--set", change)]
    words = ["-m", "search", "launch", space, "--runs", "runs", "--force-code", *settings]
    done = fork_server.run(words, tmp_path, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "runs/first/journal.jsonl").read_bytes().startswith(journal), "the records of version 0.1.0 stay"
    assert " ".join((done.stdout + done.stderr).split()).count(EARLIER_PEERS) == 2, "at its begin and at its end"
    run = open_run("first", tmp_path / "runs")
    then = scores_of(EXPECTED["curves"][FINISHED])
    assert scores_of(run.curves.to_dict("records")) == pytest.approx(then, abs=AFTER_ALL_STEPS)
    assert run.status.count("done") == len(run.configs) * run.folds == 6
    if SAME:
        fold = tmp_path / "runs/first" / Path(EXPECTED["trained on"]["folder"]).relative_to(STOPPED)
        assert_contains(json.loads((fold / "scores.json").read_text()), EXPECTED["trained on"]["scores"])


def test_a_half_trained_old_fold_resumes_bit_for_bit(tmp_path, one_thread, monkeypatch):
    monkeypatch.setattr(levels, "RESIZED_LABELS", cv2.INTER_NEAREST)
    then = EXPECTED["trained on"]
    folder = shutil.copytree(then["folder"], tmp_path / "fold")
    state = torch.load(folder / "last.pt", weights_only=True)
    assert "optimizer" in state and state["step"] == then["from"]
    config = make_config(state["config"])
    data = open_data("data", config.size)
    folds = folds_of(data, count=2, seed=0)
    arguments = (config, data, folds, state["fold"], folder)
    list(train_fold(*arguments, until=state["step"] + 1, device="cpu", workers=0))
    between = torch.load(folder / "last.pt", weights_only=True)  # one step later, before the next evaluation
    assert between["best_step"] == state["best_step"] < state["step"] < between["step"]
    assert digest(between["best_weights"]) == digest(state["best_weights"])
    reports = list(train_fold(*arguments, device="cpu", workers=0))
    assert [report.step for report in reports] == [report["step"] for report in then["reports"]]
    assert_contains(reports[0].as_dict(), then["reports"][0])  # the last report of version 0.1.0, repeated
    assert reports[-1].scores["miou"] == pytest.approx(then["reports"][-1]["miou"], abs=AFTER_TWO_STEPS)
    if SAME:
        assert_contains([report.as_dict() for report in reports], then["reports"])
        for name, key in (("last.pt", "weights"), ("best.pt", "best")):
            assert digest(torch.load(folder / name, weights_only=True)["weights"]) == then[key], name


@pytest.mark.parametrize("model", ["ensemble", "exported"])
def test_an_old_model_predicts_the_same_masks(model, tmp_path):
    model_path = Path({"ensemble": f"{FINISHED}/analysis/ensemble", "exported": "exported"}[model])
    ask(analysis, "predict", model_path, "data/test1", "--out", tmp_path, "--probabilities")
    ensemble = load_ensemble(model_path)
    masks = sorted(Path("masks", model).glob("*.png"))
    assert len(masks) == 2
    for path in masks:
        then = pixels(path)
        now = pixels(tmp_path / path.name)
        probability = pixels(tmp_path / "probabilities" / path.name) / 65535
        clear = abs(probability - ensemble.tau) > ROUNDING
        assert clear.mean() > 0.9 and 0 < then.mean() < 1, "masks that would show a difference"
        assert np.array_equal(now[clear], then[clear])
        if model == "ensemble":
            recorded = pixels(path.parent / "probabilities" / path.name) / 65535
            assert abs(probability - recorded).max() < ROUNDING and recorded.std() > 0.01
        image = pixels(f"data/test1/images/{path.stem}.jpg", "RGB")
        scribble = pixels(f"data/test1/scribbles/{path.stem}.png", "L")
        assert abs(ensemble.predict(image, scribble).probability - probability).max() < ROUNDING


def test_an_ensemble_made_from_old_fold_models_is_unchanged(tmp_path):
    ask(analysis, "ensemble", FINISHED, "--tta", "flips", "--out", tmp_path)
    now, then = (
        torch.load(folder / "ensemble.pt", weights_only=True)
        for folder in (tmp_path, Path(FINISHED, "analysis/ensemble"))
    )
    assert (now["tau"], now["tta"]) == (then["tau"], then["tta"])
    for member, old in zip(now["members"], then["members"], strict=True):
        assert_contains({**member, "weights": 0}, {**old, "weights": 0})
        assert digest(member["weights"]) == digest(old["weights"])


def test_two_configs_of_an_old_run_are_compared_and_drawn(tmp_path):
    first, second, _ = open_run(FINISHED).configs["config"]
    ask(analysis, "compare", FINISHED, first, second, "--out", tmp_path / "compared.png")
    assert pixels(tmp_path / "compared.png").std() > 1


def test_the_space_of_an_old_export_is_the_exported_config():
    (point,) = load_space("exported/space.yaml", ["data=data"]).configs()
    assert point.id == json.loads(Path("exported/export.json").read_text())["config"]


def test_an_old_export_can_be_overwritten_by_the_same_export(tmp_path):
    shutil.copytree("exported", tmp_path / "exported")
    ask(analysis, "export", FINISHED, "--out", tmp_path / "exported", "--no-onnx", "--force")
    now, then = (
        json.loads((folder / "export.json").read_text()) for folder in (tmp_path / "exported", Path("exported"))
    )
    assert_contains(now, then)
