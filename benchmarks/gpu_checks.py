"""Checks of everything that a GPU does differently from a CPU, on a small synthetic data set; for benchmarks/gpu.py.

Each check returns what it measured and whether that is within its bound. A check that raises has failed and says why;
the checks after it still run.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.ensembles.ensemble import Ensemble, load_ensemble, read_member, save_ensemble
from analysis.exports.onnx_export import PACKAGES, export_onnx
from trainable.augmentation.batches import training_batches
from trainable.config import Config, make_config
from trainable.data.dataset import UNLABELLED
from trainable.data.decoded_images import Data, open_data
from trainable.data.folds import Folds, folds_of
from trainable.data.reading import read_image, read_scribble
from trainable.data.synthetic.synthesize import synthesize
from trainable.errors import FoldFailed
from trainable.machine.isolated import in_fresh_process
from trainable.training import checkpoint
from trainable.training.fold import train_fold
from trainable.training.trial import FoldTrial

CPU = torch.device("cpu")
FOLDS = 4
SMALL = {"batch_size": 8, "patience": 0, "augmentation": "low", "ema": 0.9, "learning_rate": 1e-3}
# Bounds. Float32 convolutions run as TF32 on a GPU, with ten bits of mantissa; bf16 has seven. Training amplifies such
# differences, so scores after training agree less closely than losses of the first steps.
FIRST_LOSSES, SCORES, PROBABILITY, AGREEMENT, ONNX = 0.02, 0.05, 0.03, 0.999, 0.02
PROBE = (0.9, 1.5)  # measured memory over the probe's: what a probe may miss, and what it may keep in reserve


@dataclass(frozen=True)
class Bench:
    """Where the checks run; ``tiny`` runs each for a few steps, to rehearse them."""

    device: torch.device
    scratch: Path
    tiny: bool

    def config(self, **values: Any) -> Config:
        encoder = "test_resnet" if self.tiny else "resnet18"
        return make_config({"encoder": encoder, "attention": None, "size": self.size, **SMALL, **values})

    @property
    def size(self) -> tuple[int, int]:
        return (64, 32) if self.tiny else (96, 64)

    @property
    def data(self) -> Data:
        return open_data(self.folder, self.size, cache=self.scratch / "cache")

    @property
    def folder(self) -> Path:
        folder = self.scratch / "data"
        if not folder.exists():
            synthesize(folder, 40, 4, 120, 90, 0)
        return folder

    @property
    def folds(self) -> Folds:
        return folds_of(self.data, FOLDS, 0)

    def train(self, name: str, config: Config, fold: int = 0, **options: Any) -> tuple[dict[str, float], Path]:
        """Train a fold in a folder of this name; return its last scores and the folder."""
        where = options.pop("device", self.device)
        folder = self.scratch / name
        reports = train_fold(config, self.data, self.folds, fold, folder, device=str(where), workers=0, **options)
        *_, last = reports
        return last.scores | {"validation_loss": last.validation_loss}, folder

    def losses(self, config: Config, device: torch.device, steps: int) -> list[float]:
        trial = FoldTrial(config, self.data, self.folds, 0, device)
        for batch in training_batches(trial.stream, 0, steps, device, 0):
            trial.train_step(*batch)
        return trial._collect_losses()


def first_losses(bench: Bench) -> dict[str, Any]:
    """The losses of the first steps in float32, on the device and on the CPU."""
    config = bench.config(precision="float32")
    here, there = (bench.losses(config, device, 5) for device in (bench.device, CPU))
    worst = max(abs(a - b) / b for a, b in zip(here, there, strict=True))
    return {"passed": worst <= FIRST_LOSSES, "largest_relative_difference": worst, "bound": FIRST_LOSSES}


def trained_scores(bench: Bench) -> dict[str, Any]:
    """A fold trained in bf16 on the device, and in float32 on the CPU."""
    steps = 4 if bench.tiny else 160
    values: dict[str, Any] = {"steps": steps, "evaluations": 2}
    here, _ = bench.train("bf16", bench.config(precision="bf16", **values))
    there, _ = bench.train("float32", bench.config(precision="float32", **values), device=CPU)
    difference = abs(here["miou"] - there["miou"])
    return {
        "passed": difference <= SCORES,
        "device_bf16": here,
        "cpu_float32": there,
        "difference": difference,
        "bound": SCORES,
    }


def resume(acceleration: str) -> Callable[[Bench], dict[str, Any]]:
    def check(bench: Bench) -> dict[str, Any]:
        """A fold that stops in the middle of an epoch and resumes, and one that does not stop."""
        config = bench.config(steps=12, evaluations=2, acceleration=acceleration)
        whole, one = bench.train(f"whole-{acceleration}", config)
        bench.train(f"resumed-{acceleration}", config, until=7)
        resumed, other = bench.train(f"resumed-{acceleration}", config)
        weights = [checkpoint.load(folder / checkpoint.LAST)["weights"] for folder in (one, other)]
        largest = max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0])
        difference = abs(whole["miou"] - resumed["miou"])
        return {
            "passed": difference <= SCORES,
            "identical": largest == 0.0,
            "largest_weight_difference": largest,
            "difference": difference,
            "bound": SCORES,
        }

    return check


def graph_losses(bench: Bench) -> dict[str, Any]:
    """The losses of steps replayed as a graph, and of the same steps as usual."""
    usual, graph = (
        bench.losses(bench.config(acceleration=mode, dropout=0.5), bench.device, 12) for mode in ("none", "graph")
    )
    worst = max(abs(a - b) / b for a, b in zip(graph, usual, strict=True))
    return {"passed": worst <= FIRST_LOSSES, "largest_relative_difference": worst, "bound": FIRST_LOSSES}


def no_synchronisation(acceleration: str) -> Callable[[Bench], dict[str, Any]]:
    def check(bench: Bench) -> dict[str, Any]:
        """Steps in the mode in which torch raises an error whenever the host waits for the device."""
        config = bench.config(acceleration=acceleration)
        trial = FoldTrial(config, bench.data, bench.folds, 0, bench.device)
        batches = training_batches(trial.stream, 0, 8, bench.device, 0)
        for _ in range(3):
            trial.train_step(*next(batches))
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(5):
                trial.train_step(*next(batches))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return {"passed": True, "steps": 5}

    return check


def out_of_memory(bench: Bench) -> dict[str, Any]:
    """A fold with a hundredth of the memory fails with the reason "out_of_memory", and the next one trains."""
    config = bench.config(size="480x352", batch_size=16, steps=2, evaluations=1)
    data = open_data(bench.folder, (480, 352), cache=bench.scratch / "cache")
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.01)
    reason = None
    try:
        for _ in train_fold(config, data, folds_of(data, FOLDS, 0), 0, bench.scratch / "oom", device="cuda", workers=0):
            pass
    except FoldFailed as failure:
        reason = failure.reason
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    bench.train("after-oom", bench.config(steps=2, evaluations=1))
    return {"passed": reason == "out_of_memory", "reason": reason}


def probe(bench: Bench) -> dict[str, Any]:
    """The memory that the probe predicts for the default config at 480x352, and what a longer training takes."""
    from trainable.preflight.memory_probe import card_here, measure

    config = make_config({"size": "480x352"})
    card = in_fresh_process(card_here)
    predicted = in_fresh_process(measure, config, card, bench.folder, FOLDS, 0)
    taken = in_fresh_process(_training_memory, config, bench.folder)
    ratio = taken / predicted.tensors
    return {
        "passed": PROBE[0] <= 1 / ratio <= PROBE[1],
        "probe_mb": predicted.tensors / 2**20,
        "training_mb": taken / 2**20,
        "ratio": ratio,
    }


def _training_memory(config: Config, folder: Path) -> int:
    """Memory that torch reserved in 20 steps with five evaluations."""
    data = open_data(folder, config.size)
    short = config.model_copy(update={"steps": 20, "evaluations": 5, "patience": 0})
    with_folder = folder.parent / "memory"
    for _ in train_fold(short, data, folds_of(data, FOLDS, 0), 0, with_folder, device="cuda", workers=0):
        pass
    return int(torch.cuda.max_memory_reserved())


def predictions(bench: Bench) -> dict[str, Any]:
    """Probabilities and masks of an ensemble of two folds, on the device and on the CPU."""
    ensemble = _ensemble(bench)
    here, there = (load_ensemble(ensemble, str(device)) for device in (bench.device, CPU))
    worst, agree = 0.0, []
    for image, scribble in _test_images(bench):
        one, other = here.predict(image, scribble), there.predict(image, scribble)
        worst = max(worst, float(np.abs(one.probability - other.probability).max()))
        agree.append(float((one.mask == other.mask).mean()))
    agreement = float(np.mean(agree))
    return {
        "passed": worst <= PROBABILITY and agreement >= AGREEMENT,
        "largest_probability_difference": worst,
        "agreeing_pixels": agreement,
        "bounds": [PROBABILITY, AGREEMENT],
    }


def onnx(bench: Bench) -> dict[str, Any]:
    """The ensemble as an ONNX file on the CPU, and in torch on the device."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing or bench.tiny:
        reason = f"needs {', '.join(missing)}" if missing else "left out of a rehearsal"
        return {"passed": None, "skipped": reason}
    import onnxruntime

    ensemble, file = _ensemble(bench), bench.scratch / "ensemble.onnx"
    export_onnx(load_ensemble(ensemble, "cpu"), file)
    here = load_ensemble(ensemble, str(bench.device))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    worst = 0.0
    for image, scribble in _test_images(bench):
        (found,) = session.run(None, {session.get_inputs()[0].name: np.dstack([image, scribble])[None]})
        worst = max(worst, float(np.abs(found[0] - here.predict(image, scribble).probability).max()))
    return {"passed": worst <= ONNX, "largest_probability_difference": worst, "bound": ONNX}


def _ensemble(bench: Bench) -> Path:
    made = bench.scratch / "ensemble.pt"
    if not made.exists():
        config = bench.config(steps=2 if bench.tiny else 60, evaluations=1)
        folders = [bench.train(f"member-{fold}", config, fold)[1] for fold in range(2)]
        members = [read_member(config.id, fold, folder) for fold, folder in enumerate(folders)]
        save_ensemble(Ensemble(members, config.tau, "none"), made)
    return made


def _test_images(bench: Bench) -> Iterator[tuple[Any, Any]]:
    for path in sorted((bench.folder / "test1/images").iterdir()):
        scribble = bench.folder / "test1/scribbles" / f"{path.stem}.png"
        image = read_image(path)
        yield image, read_scribble(scribble) if scribble.exists() else np.full(image.shape[:2], UNLABELLED, np.uint8)


EVERYWHERE: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "first losses": first_losses,
    "losses of a graph": graph_losses,
    "resume in mid-epoch": resume("none"),
    "resume in mid-epoch, graph": resume("graph"),
    "trained scores": trained_scores,
    "predictions": predictions,
    "onnx": onnx,
}
ON_A_GPU: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "no synchronisation": no_synchronisation("none"),
    "no synchronisation, graph": no_synchronisation("graph"),
    "out of memory": out_of_memory,
    "memory probe": probe,
}


def checks_on(device: torch.device) -> dict[str, Callable[[Bench], dict[str, Any]]]:
    return EVERYWHERE | (ON_A_GPU if device.type == "cuda" else {})


def run_checks(bench: Bench, known: dict[str, Any], time_left: Callable[[], float]) -> Iterator[dict[str, Any]]:
    """Yield the results so far after each check; those that are known already are kept."""
    results = dict(known)
    for name, check in checks_on(bench.device).items():
        if name in results:
            continue
        if time_left() <= 0:
            return
        began = time.perf_counter()
        try:
            found = check(bench)
        except Exception as error:  # noqa: BLE001  a check that fails must not end the others
            found = {"passed": False, "error": f"{type(error).__name__}: {error}"[:500]}
        results[name] = found | {"seconds": round(time.perf_counter() - began, 2)}
        verdict = {True: "passed", False: "FAILED", None: "skipped"}[results[name]["passed"]]
        print(f"  {name}: {verdict} ({results[name]['seconds']:.1f} s)", file=sys.stderr, flush=True)
        yield results
