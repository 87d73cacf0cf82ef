"""The programs as a person runs them: what they print, where, with which exit code, and what Ctrl-C does."""

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainable import exit_codes
from trainable.__main__ import app

LIMITED = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
runpy.run_module("trainable", run_name="__main__", alter_sys=True)
"""
PLUGIN = Path(__file__).parents[3] / "examples/own_parts.py"
FAST = ["--set", "encoder=test_resnet", "--set", "batch_size=4", "--set", "attention=none"]


@pytest.fixture
def run(tmp_path, small_cache, fork_server):
    environment = os.environ | {"SCRIBBLE_SEARCH_CACHE": str(small_cache), "NO_COLOR": "1", "COLUMNS": "200"}

    def program(*words, start=("-m", "trainable")):
        return fork_server.run([*start, *words], tmp_path, environment)

    program.environment = environment
    return program


def test_fit_trains_a_fold_and_ends_with_its_scores(run, small_folder, tmp_path):
    done = run(
        "fit", small_folder, "--folds", 4, *FAST, "--set", "steps=4", "--set", "evaluations=2", "--metric", "dice"
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"step 2/4 .*loss .*dice .*images/s.*left", done.stderr)
    assert re.search(r"weights +step +size +miou +miou_image", done.stdout)
    (folder,) = (tmp_path / "runs/fit").glob("*/fold_0")
    assert str(folder.relative_to(tmp_path)) in done.stderr
    files = {
        "best.pt",
        "last.pt",
        "metrics.jsonl",
        "images.parquet",
        "scores.json",
        "log.txt",
        "config.json",
        "folds.json",
    }
    assert {path.name for path in folder.iterdir()} == files
    assert json.loads((folder / "config.json").read_text())["encoder"] == "test_resnet"


DINO = ["pretraining=dino", "pretraining_epochs=2", "pretraining_batch_size=4", "projection_size=8", "local_crops=0"]


def test_fit_pretrains_an_encoder_once_for_a_fold(run, small_folder, tmp_path):
    words = ["fit", small_folder, "--folds", 4, *FAST, "--set", "steps=1"]
    words += [word for value in DINO for word in ("--set", value)]
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert re.search(r"pre-training, epoch 2 of 2: loss .*entropy .*KL ", done.stderr) and "step 1/1" in done.stderr
    (log,) = (tmp_path / "runs/fit").glob("*/fold_0/log.txt")
    assert "pre-training, epoch 1 of 2" in log.read_text()
    again = run(*words, "--set", "loss=dice")
    assert again.returncode == 0 and "pre-training, epoch" not in again.stderr, again.stderr
    assert len(list((tmp_path / "runs/fit/pretraining").glob("*/encoder.safetensors"))) == 1
    for assignment, problem in (("pretraining_batch_size=16", "larger than fold 0"), ("pretraining_data=x", "no such")):
        refused = run(*words, "--set", assignment)
        assert refused.returncode == 2 and problem in refused.stderr.splitlines()[-1], refused.stderr


@pytest.mark.parametrize("output", ["json", "csv"])
def test_data_goes_to_stdout_and_talk_to_stderr(run, small_folder, output):
    done = run("fit", small_folder, *FAST, "--set", "steps=1", "--format", output)
    assert done.returncode == 0, done.stderr
    if output == "json":
        assert json.loads(done.stdout)["best"]["original"].keys() >= {"miou", "miou_image", "dice"}
    else:
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert [(row["weights"], row["size"]) for row in rows][:2] == [("best", "original"), ("best", "working")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "nowhere"], "error: nowhere: no such folder"),
        (["fit", "DATA", "--set", "learning_rte=1"], "error: unknown hyperparameter 'learning_rte'. Did you mean"),
        (["fit", "DATA", "--set", "size=100x31"], "error: size = '100x31': width and height must be at least 32"),
        (["fit", "DATA", "--set", "batch_size=17"], "error: batch_size = 17: larger than fold 0, which has 16 images"),
        (["fit", "DATA", "--fold", "5"], "error: fold 5: there are 5 folds, 0 to 4"),
        (["fit", "DATA", "--folds", "21"], "error: folds = 21: the data set has only 20 labelled images"),
        (["fit", "DATA", "--set", "encoder=resnet81"], "error: encoder = 'resnet81': unknown to smp and timm"),
        (["fit", "DATA", "--split", "test1", "--folds", "2"], "/test1 has no ground_truth/; use supervision=scribbles"),
        (["fit", "DATA", "--out", "/proc/nothing"], "error: /proc/nothing"),
        (["fit", "DATA", "--device", "gpu"], "error: device = 'gpu': cannot be used here"),
        (["synthesize", "DATA"], "exists and is not empty"),
        (["synthesize", "new", "--size", "5x5x5"], "error: --size '5x5x5': write WIDTHxHEIGHT"),
        (["show", "DATA", "--out", "/proc/nothing.png"], "error: /proc/nothing.png: No such file or directory"),
        (["fitt"], "No such command 'fitt'"),
        (["fit", "DATA", "--folds", "1"], "Invalid value for '--folds'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    small_folder, small_cache, words, message, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(small_cache))
    words = [str(small_folder) if word == "DATA" else word for word in words]
    monkeypatch.setattr(sys, "argv", ["trainable", *words])
    with pytest.raises(SystemExit) as end:
        exit_codes.run(app)
    said = capsys.readouterr()
    assert end.value.code == 2
    assert message in said.err and "Traceback" not in said.err
    assert said.out == ""


def test_mistakes_are_reported_before_the_frameworks_are_loaded(run, small_folder):
    """A typo must not cost the seconds that importing torch takes."""
    code = (
        "import sys; from trainable import exit_codes; from trainable.__main__ import app\n"
        f"sys.argv = ['trainable', 'fit', {str(small_folder)!r}, '--set', 'learning_rte=1']\n"
        "try: exit_codes.run(app)\n"
        "finally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "False\n") and "learning_rte" in done.stderr


def test_a_failed_fold_is_exit_code_1_with_a_machine_readable_reason(run, small_folder, tmp_path):
    words = ["--set", "learning_rate=1e30", "--set", "gradient_clip=0", "--set", "steps=40", "--set", "evaluations=2"]
    done = run("fit", small_folder, "--out", "out", *FAST, *words)
    assert done.returncode == 1
    assert "error:" in done.stderr and "(nan)" in done.stderr and "Traceback" not in done.stderr
    assert json.loads((tmp_path / "out/error.json").read_text())["reason"] == "nan"


def test_a_full_disk_is_one_line_and_exit_code_2(run, small_folder, tmp_path):
    """A limit on file size makes the kernel refuse the write in the middle, as a full disk does."""
    words = ["fit", small_folder, "--out", "out", *FAST, "--set", "steps=2"]
    assert run(*words, "--until", 1).returncode == 0
    before = (tmp_path / "out/last.pt").read_bytes()
    limited = tmp_path / "limited.py"
    limited.write_text(LIMITED)
    done = run(*words, start=[limited])
    assert done.returncode == 2
    assert "best.pt: cannot be written (File too large)" in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "out/last.pt").read_bytes() == before
    assert run(*words).returncode == 0


def test_until_pauses_and_the_printed_command_resumes(run, small_folder, tmp_path):
    words = ["fit", small_folder, "--out", "out", *FAST, "--set", "steps=4", "--set", "evaluations=2"]
    paused = run(*words, "--until", 2)
    assert paused.returncode == 0
    command = paused.stderr.splitlines()[-1].split()
    assert command[:3] == ["python", "-m", "trainable"] and "--until" not in command
    done = run(*command[3:])
    assert done.returncode == 0 and "step 4/4" in done.stderr
    assert json.loads((tmp_path / "out/scores.json").read_text())["last"]["step"] == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_stops_after_the_step_and_loses_nothing(run, fork_server, small_folder, tmp_path, number):
    words = ["fit", str(small_folder), "--out", "out", *FAST, "--set", "steps=4000", "--set", "evaluations=2000"]
    process = fork_server.start(["-m", "trainable", *words], tmp_path, run.environment)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("step 4/"):
            process.send_signal(number)
    process.communicate()
    assert process.returncode == 130
    assert lines[-1].split()[:4] == ["python", "-m", "trainable", "fit"]
    assert (tmp_path / "out/last.pt").exists()
    resumed = run(*words, "--until", 8)
    assert resumed.returncode == 0
    assert int(re.search(r"step (\d+)/", resumed.stderr)[1]) >= 4


def test_a_terminal_shows_a_bar(run, fork_server, small_folder, tmp_path):
    leader, follower = pty.openpty()
    words = ["fit", str(small_folder), *FAST, "--set", "steps=6", "--set", "evaluations=3"]
    environment = run.environment | fork_server.environment | {"TERM": "xterm", "COLUMNS": "140"}
    with subprocess.Popen(
        [fork_server.python, "-m", "trainable", *words],
        env=environment,
        cwd=tmp_path,
        stderr=follower,
        stdout=subprocess.DEVNULL,
    ) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                shown += os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
        assert process.wait() == 0
    os.close(leader)
    text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", shown).decode()
    assert "6/6" in text and re.search(r"loss \d\.\d+  miou 0\.\d+ \(best 0\.\d+\)", text) and "images/s" in text


def test_synthesize_then_doctor(run, tmp_path):
    assert run("synthesize", "data", "--images", 5, "--test", 2, "--size", "96x80", "--seed", 3).returncode == 0
    done = run("doctor", "data", "--format", "json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert {"images", "unlabelled", "problems", "foreground_share", "size", "hash"} <= set(document)
    assert (document["images"], document["unlabelled"], document["size"]) == (5, 2, [96, 80])
    next((tmp_path / "data/train/scribbles").iterdir()).unlink()
    broken = run("doctor", "data")
    assert broken.returncode == 2 and "has no partner" in broken.stdout
    assert run("doctor", "data", "--format", "csv").stdout.startswith("file,severity,kind,problem\n")


def test_show_draws_a_sheet_with_every_level(run, small_folder, tmp_path):
    from PIL import Image

    done = run("show", small_folder, "--out", "samples.png", "--count", 2)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "samples.png") as sheet:
        assert sheet.width > 7 * 200 and sheet.height > 4 * 100


def test_parameters_lists_every_hyperparameter(run):
    from trainable.config import Config

    rows = json.loads(run("parameters", "--format", "json").stdout)
    assert [row["name"] for row in rows] == list(Config.model_fields)
    assert all(row["meaning"] and row["allowed"] for row in rows)


def test_networks_lists_every_network_and_those_of_a_plugin(run):
    from trainable.networks.registry import ARCHITECTURES

    rows = {row["network"]: row for row in json.loads(run("networks", "--plugin", PLUGIN, "--format", "json").stdout)}
    assert list(rows) == [*ARCHITECTURES, "dilated"] and rows["dilated"]["million_parameters"] > 0
    assert rows["unet"]["million_parameters"] == 10.1 and rows["unet"]["stride"] == 32
    assert rows["unet-plain"] == {
        "network": "unet-plain",
        "million_parameters": 31.04,  # the textbook's "about 31M"
        "hyperparameters": "width, depth",
        "stride": 16,
        "onnx": "yes",
    }


def test_fit_names_a_network_without_encoder_and_trains_it_at_any_size(run, small_folder):
    words = [
        "architecture=attention-resunet",
        "width=4",
        "depth=2",
        "size=50x41",
        "steps=2",
        "evaluations=1",
        "batch_size=4",
    ]
    done = run("fit", small_folder, *(word for value in words for word in ("--set", value)))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("attention-resunet, width 4, depth 2, iou loss, augmentation low, 50x41: fold 0 of 5")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["encoder=swin_tiny_patch4_window7_224"], "cannot be the encoder of a unet at 96x64 (AssertionError: Input"),
        (["architecture=unet-plain", "depth=7"], "depth = 7: halves images 7 times, so they must be at least 128x128"),
    ],
)
def test_fit_reports_a_network_that_cannot_be_trained_in_one_line(run, small_folder, values, message):
    done = run("fit", small_folder, *(word for value in values for word in ("--set", value)))
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["doctor", "synthesize", "import", "show", "fit", "parameters", "networks"])
def test_help_contains_an_example(run, command):
    done = run(command, "--help")
    assert done.returncode == 0 and f"Example: python -m trainable {command}" in done.stdout
    assert "╭" not in done.stdout, "plain text, as of the other programs"
