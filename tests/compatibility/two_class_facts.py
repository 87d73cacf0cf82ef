"""Everything that two classes and the hyperparameters of the first version decide, as hashes and numbers.

Run as a program, it writes what ``test_two_classes.py`` compares with: python tests/compatibility/two_class_facts.py
"""

import hashlib
import json
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from trainable.augmentation.batches import BatchStream
from trainable.config import make_config
from trainable.data.decoded_images import open_data
from trainable.data.folds import make_folds, save_folds
from trainable.data.packed_labels import unpack
from trainable.data.synthetic.synthesize import synthesize
from trainable.training import checkpoint
from trainable.training.fold import train_fold

FILE = Path(__file__).parent / "two_classes.json"
CONFIGS: dict[str, dict[str, Any]] = {
    "default": {},
    "other": {"loss": "dice", "augmentation": "high", "attention": None, "batch_size": 3, "ema": 0.0, "pc": 1.5},
}
FOREGROUND, BACKGROUND = 2, 1  # of a stroke in memory
SMALL = {"encoder": "resnet18", "size": "64x64", "batch_size": 4, "steps": 4, "evaluations": 2, "seed": 3}


def machine() -> str:
    """Floating-point results are equal on machines of the same kind only."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    return f"{model}, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {platform.machine()}"


def find_facts(folder: Path) -> dict[str, Any]:
    synthesize(folder / "data", images=12, test_images=0, width=80, height=72, seed=5)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            "machine": machine(),
            "ids": {name: make_config(values).id for name, values in CONFIGS.items()},
            "fields": {name: list(make_config(values).model_dump(mode="json")) for name, values in CONFIGS.items()},
            "runs": {name: _run(folder, name, {**SMALL, **values}) for name, values in CONFIGS.items()},
        }
    finally:
        torch.set_num_threads(threads)


def _run(folder: Path, name: str, values: dict[str, Any]) -> dict[str, Any]:
    config = make_config(values)
    data = open_data(folder / "data", config.size, cache=folder / "cache")
    folds = make_folds(data.foreground_shares, 3, seed=1, data_hash=data.hash)
    place = folder / name
    losses = [report.loss for report in train_fold(config, data, folds, 1, place, device="cpu", workers=0)]
    save_folds(folds, place / "folds.json")
    images = pd.read_parquet(place / "images.parquet")
    state = checkpoint.load(place / checkpoint.BEST)
    last = checkpoint.load(place / checkpoint.LAST)
    return {
        "id": config.id,
        "data": data.hash,
        "folds": _hash((place / "folds.json").read_bytes()),
        "batches": _batches(BatchStream(data, data.indices(folds.training(1)), config, 1)),
        "losses": losses,
        "counts": _hash(images.to_csv(index=False).encode()),
        "columns": list(images.columns),
        "metrics": sorted(_facts((place / "metrics.jsonl").read_text().splitlines()[0])),
        "scores": _facts((place / "scores.json").read_text()),
        "weights": _weights(state["weights"]),
        "tensors": _hash("".join(f"{k}{tuple(v.shape)}{v.dtype}" for k, v in state["weights"].items()).encode()),
        "best": _tree(state),
        "last": _tree(last),
    }


def _facts(text: str) -> dict[str, Any]:
    """Without what later versions check a file by."""
    return {name: value for name, value in json.loads(text).items() if name not in ("v", "n", "sum")}


def _batches(stream: BatchStream) -> str:
    digest = hashlib.sha256()
    for step in range(6):
        images, labels = stream[step]
        scribble, mask = (np.asarray(part) for part in unpack(labels.numpy()))
        code = (scribble == FOREGROUND) * 1 + (scribble == BACKGROUND) * 2
        for part in (images.numpy(), mask, code.astype(np.uint8)):
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _weights(weights: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in weights.items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _tree(state: dict[str, Any]) -> list[str]:
    """The keys of a checkpoint, those of its config included."""
    return sorted([*state, *(f"config.{key}" for key in state["config"])])


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        FILE.write_text(json.dumps(find_facts(Path(scratch)), indent=1, sort_keys=True) + "\n")
