"""Write ``first_version.tar.xz`` and ``expected.json``: files of version 0.1.0 and what it computes from them.

They stand for the runs that users have on their disks, so only version 0.1.0 may write them. They were written once;
write them again only if a test needs something that they lack, and from the root of the project:

    git worktree add /tmp/first 312fe03
    PYTHONPATH=/tmp/first .venv/bin/python tests/compatibility/make_fixtures.py
    git worktree remove /tmp/first

It takes a few minutes. The runs are launched, stopped and resumed by the commands of version 0.1.0, on Ray and with
real training. Then the checkpoints are thinned, because trained weights do not compress: in every large tensor all but
about 150 values become zero, the others are rounded, and version 0.1.0's own ``save`` writes the result. What is
expected is recorded from the thinned files.

    data/           12 labelled images and 2 to predict
    stopped/first   a stopped run: one fold trial is done, one is half trained, four did not begin
    finished/first  the same run, resumed to its end from ``stopped``, with the ensemble of its winner
    exported/       the winner of ``finished``, exported
    masks/          the predictions of both for the two images
    scripted/faulty a scripted fold race: done, paused and failed fold trials, faults, two drivers
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ARCHIVE, EXPECTED = HERE / "first_version.tar.xz", HERE / "expected.json"
SOME_FAILED, BUDGET_SPENT, INTERRUPTED = 1, 3, 130
CORES = os.cpu_count() or 1
FAULTY_RUN = "scripted/faulty"
KEPT, BITS = 150, 5  # values of a large tensor that are kept (about), and bits of their mantissa
HOST = "workstation"  # replaces the name of this machine

FIRST = """
name: first
data: data
folds: 2
parameters:
  learning_rate: {values: [0.002, 0.005, 0.0123]}
  encoder: test_resnet
  attention: none
  dropout: 0.3
  augmentation: medium
  size: 64x64
  batch_size: 3
  steps: 8
  evaluations: 4
  warmup_steps: 2
  ema: 0.7
sampler: grid
scheduler: grid
resources: {gpu: 0, cpu: 1}
"""
FAULTY = """
name: faulty
folds: 3
trainable: scripted
parameters:
  quality: {values: [0.52, 0.61, 0.7, 0.76, 0.78, 0.785]}
  fault: {values: [none, nan, crash]}
  fault_step: 3
  fault_folds: {values: [[1]]}
  noise: 0.01
  steps: 8
  evaluations: 8
  step_seconds: 0.05
forbid:
  - {fault: none, quality: [0.78, 0.785]}
  - {fault: nan, quality: [0.52, 0.7, 0.76, 0.78]}
  - {fault: crash, quality: [0.52, 0.61, 0.7, 0.76, 0.785]}
sampler: grid
scheduler: {name: foldrace, rungs: [0.5], keep: 0.6, delta: 0.05}
resources: {gpu: 0, cpu: 1}
"""
CONFIGS: list[dict[str, Any]] = [
    {},
    {"encoder": "test_resnet", "attention": None, "size": "64x64"},
    {"attention": "scse", "size": [480, 352], "batch_size": 6},
    {"learning_rate": 0.0031415926535, "weight_decay": 3.7e-06, "dropout": 0.4375112},
    {"learning_rate": 1e-05, "final_learning_rate": 0, "ema": 0, "patience": 0},
    {"encoder": "resnet18", "encoder_weights": "imagenet", "loss": "dice", "lambda_bce": 0, "pc": 3.8},
    {"augmentation": "high", "precision": "bf16", "tau": 0.45, "seed": 4294967295, "gradient_clip": 0},
    {"steps": 500, "evaluations": 7, "warmup_steps": 250, "pc": 1, "lambda_region": 2},
    {"encoder": "tu-convnext_atto", "batch_size": 16, "ema": 0.9995, "size": "auto"},
]


def main() -> None:
    options = argparse.ArgumentParser(description="Write the fixtures beside this file.")
    options.add_argument("--keep", type=Path, help="A new folder to work in, which is kept.")
    asked = options.parse_args()
    must_be_the_first_version()
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="first-version-"))
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "SCRIBBLE_SEARCH_CACHE": str(folder.absolute() / ".cache"),
        "SCRIBBLE_SEARCH_DASHBOARD": "0",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "RAY_ADDRESS": "",
        "NO_COLOR": "1",
    }
    os.chdir(folder)
    make_runs()
    expected = record()
    EXPECTED.write_text(json.dumps(expected, indent=1, sort_keys=True, default=float) + "\n")
    pack()
    if asked.keep is None:
        shutil.rmtree(folder)
    for path in (ARCHIVE, EXPECTED):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def must_be_the_first_version() -> None:
    if find_spec("search.words") is None or find_spec("trainable.checkpoint") is None:
        sys.exit(f"PYTHONPATH must start with a checkout of version 0.1.0, but search is {find_spec('search').origin}")


# --- runs ---


def make_runs() -> None:
    program("trainable", "synthesize", "data", "--images", "12", "--test", "2", "--size", "80x72", "--seed", "3")
    Path("first.yaml").write_text(FIRST)
    Path("faulty.yaml").write_text(FAULTY)
    launch("first", "stopped", "--set", "budget.trials=1", code=BUDGET_SPENT)
    launch("first", "stopped", "--set", f"resources.cpu={CORES}", code=INTERRUPTED, stop_after=6)  # one at a time
    launch("faulty", "scripted", code=INTERRUPTED, stop_after=12)
    launch("faulty", "scripted", code=SOME_FAILED)
    forget_this_machine("stopped", "scripted")
    make_thin(Path("stopped/first"))
    must_have_what_tests_need()
    shutil.copytree("stopped", "finished")
    launch("first", "finished", "--force-code")
    forget_this_machine("finished")
    make_thin(Path("finished/first"))
    for last in Path("finished").rglob("last.pt"):  # large, and never read once a fold is done
        last.unlink()
    program("analysis", "ensemble", "finished/first", "--tta", "flips")
    program("analysis", "export", "finished/first", "--out", "exported", "--no-onnx")
    ensemble = "finished/first/analysis/ensemble"
    program("analysis", "predict", ensemble, "data/test1", "--out", "masks/ensemble", "--probabilities")
    program("analysis", "predict", "exported", "data/test1", "--out", "masks/exported")


def launch(name: str, root: str, *words: str, code: int = 0, stop_after: int | None = None) -> None:
    """Launch a space; once the journal has so many reports, ask it to stop, as ``search stop`` does."""
    from search.run_folder import Run

    command = [sys.executable, "-m", "search", "launch", f"{name}.yaml", "--runs", root, *words]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    run = Run(Path(root, name))
    while stop_after is not None and process.poll() is None:
        if sum(line.kind == "report" for line in run.lines()) >= stop_after:
            run.request_stop()
            break
        time.sleep(0.005)
    said, _ = process.communicate()
    if process.returncode != code:
        sys.exit(f"{' '.join(command)}\n{said}\nended with {process.returncode}, not {code}")


def program(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def forget_this_machine(*roots: str) -> None:
    """Replace the name of this machine, which no program reads."""
    for root in roots:
        for path in (*Path(root).rglob("journal.jsonl"), *Path(root).rglob("log.txt")):
            said, name = path.read_text(), socket.gethostname()
            said = said.replace(f'"host":"{name}"', f'"host":"{HOST}"').replace(f" on {name}", f" on {HOST}")
            path.write_text(said)


# --- thin checkpoints ---


def make_thin(run: Path) -> None:
    from trainable import checkpoint

    for path in sorted(run.glob("configs/*/fold_*/*.pt")):
        state = checkpoint.load(path)
        version = state.pop("version")
        if version != checkpoint.VERSION:
            sys.exit(f"{path}: has version {version}")
        for key in ("weights", "network", "best_weights"):
            if state.get(key):
                state[key] = thin_network(state, state[key])
        if "optimizer" in state:
            state["optimizer"] = thin(state["optimizer"], whole=1)
        checkpoint.save(state, path)


def thin(value: Any, whole: int = 500) -> Any:
    """Round all tensors, and set most values to zero in those with more than ``whole`` values.

    The memory layout of a tensor is kept, because the file contains it.
    """
    import torch

    if isinstance(value, dict):
        return type(value)((key, thin(each, whole)) for key, each in value.items())
    if isinstance(value, list):
        return [thin(each, whole) for each in value]
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return value
    mantissa, exponent = torch.frexp(value)
    short = torch.empty_like(value).copy_(torch.ldexp((mantissa * 2**BITS).round() / 2**BITS, exponent))
    if value.numel() <= whole:
        return short
    stride = max(3, (value.numel() // KEPT) | 1)
    stride += 2 * (stride % 3 == 0)  # otherwise the same corner of every kernel would be left
    dropped = torch.ones(value.numel(), dtype=torch.bool)
    dropped[::stride] = False
    return short.masked_fill_(dropped.as_strided(value.size(), value.stride()), 0)


def thin_network(state: dict[str, Any], weights: dict[str, Any]) -> dict[str, Any]:
    """Thin the weights and estimate the norms' statistics anew: with the old ones, all pixels would get one value."""
    import torch
    from torch import nn

    from trainable import checkpoint
    from trainable.cache import open_data, unpack

    network = checkpoint.empty_network(checkpoint.config_of(state))
    network.load_state_dict(thin(weights))
    data = open_data(Path("data"), tuple(state["size"]))
    images, labels = (torch.from_numpy(array.copy()) for array in (data.images, data.labels))
    norms = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]
    counts = {name: tensor for name, tensor in weights.items() if name.endswith("num_batches_tracked")}
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    with torch.no_grad():
        network(images, unpack(labels)[0])
    for norm in norms:
        norm.running_var[norm.running_var < 1e-4] = 1  # channels that are zero everywhere, until the next step
    found = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    return type(weights)((name, each) for name, each in (thin(found) | counts).items())


def must_have_what_tests_need() -> None:
    """Both runs were stopped at a moment that varies; check that they contain what the tests need."""
    (folder,) = half_trained(Path("stopped/first"))
    if len((folder / "metrics.jsonl").read_text().splitlines()) not in (1, 2, 3):
        sys.exit(f"{folder}: is not half trained; try again")
    kinds = {json.loads(line)["kind"] for line in Path(FAULTY_RUN, "journal.jsonl").read_text().splitlines()}
    trials = asked("search", "status", FAULTY_RUN)["trials"]
    if not {"job", "report", "lost", "fault", "end"} <= kinds or not all(
        trials[state] for state in ("done", "paused", "failed", "faults")
    ):
        sys.exit(f"{FAULTY_RUN}: has {trials} and the records {kinds}; try again")


def half_trained(run: Path) -> list[Path]:
    return [path.parent for path in run.glob("configs/*/fold_*/last.pt") if not (path.parent / "best.pt").exists()]


# --- what is expected ---


def record() -> dict[str, Any]:
    import torch

    from trainable.config import make_config

    (paused,) = half_trained(Path("stopped/first"))
    return {
        "arithmetic": {
            "torch": torch.__version__,
            "processor": processor(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
        },
        "status": {name: asked("search", "status", name) for name in ("stopped/first", "finished/first", FAULTY_RUN)},
        "best": {name: asked("analysis", "best", name) for name in ("finished/first", FAULTY_RUN)},
        "replay": {"finished/first": asked("search", "replay", "finished/first", "--processes", "1")},
        "ledger": {FAULTY_RUN: asked("search", "ledger", FAULTY_RUN)},
        "curves": {name: curves(name) for name in ("stopped/first", "finished/first", FAULTY_RUN)},
        "trained on": {"folder": str(paused), **trained_on(paused)},
        "recovered": {FAULTY_RUN: recovered(FAULTY_RUN)},
        "ids": [{"values": values, "id": make_config(values).id} for values in CONFIGS],
    }


def asked(*words: str) -> Any:
    return json.loads(program(*words, "--format", "json"))


def curves(run: str) -> list[dict[str, Any]]:
    """Every report of a run, as text, because JSON has no NaN."""
    program("search", "curves", run, "--out", "curves.csv")
    columns = ("config", "fold", "step", "score", "seconds")
    with Path("curves.csv").open(newline="") as file:
        return [{key: row[key] for key in columns} for row in csv.DictReader(file)]


def trained_on(paused: Path) -> dict[str, Any]:
    """Resume the half-trained fold in this process, on one thread."""
    import torch

    from trainable import checkpoint
    from trainable.cache import open_data
    from trainable.fold import train_fold
    from trainable.folds import load_folds

    torch.set_num_threads(1)
    folder = Path("trained-on")
    shutil.copytree(paused, folder)
    state = checkpoint.load(folder / "last.pt")
    config = checkpoint.config_of(state)
    data = open_data(Path("data"), config.size)
    folds = load_folds(Path("stopped/first/folds.json"), data.hash)
    reports = list(train_fold(config, data, folds, state["fold"], folder, device="cpu", workers=0))
    return {
        "from": state["step"],
        "reports": [{key: value for key, value in each.as_dict().items() if key != "seconds"} for each in reports],
        "weights": digest(checkpoint.load(folder / "last.pt")["weights"]),
        "best": digest(checkpoint.load(folder / "best.pt")["weights"]),
        "scores": json.loads((folder / "scores.json").read_text()),
    }


def digest(weights: dict[str, Any]) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        found.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def recovered(run: str) -> int:
    """How many reports can be rebuilt from the fold folders of a run."""
    from search.recover import recover
    from search.run_folder import Run

    shutil.copytree(run, "recovered")
    copy = Run(Path("recovered"))
    return recover(copy, copy.space())


def processor() -> str:
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return next((line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name")), "")


# --- the archive ---


def pack() -> None:
    """Put the models last, equal ones close together, so that a repeated model takes almost no space."""
    roots = ("data", "scripted", "masks", "exported", "finished", "stopped")
    files = [path for root in roots for path in sorted(Path(root).rglob("*")) if path.is_file()]
    files.sort(key=lambda path: path.suffix == ".pt")
    with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
        for path in (Path("first.yaml"), Path("faulty.yaml"), *files):
            if not path.name.startswith("."):
                archive.add(path, filter=without_owner)


def without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
