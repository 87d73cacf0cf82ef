"""Measures how much GPU memory a fold trial takes, by running the fold loop for a few steps.

Every measurement runs in a new process, so that nothing is left for the next one and the search itself uses no GPU
memory. It assumes that no other process uses the GPU. Results are cached with the decoded images.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from trainable.config import Config
from trainable.data.decoded_images import open_data
from trainable.data.folds import folds_of
from trainable.errors import FoldFailed, UserError
from trainable.machine.isolated import in_fresh_process
from trainable.machine.memory_footprint import GIB, Card, Footprint, Shape, heaviest, shape_of
from trainable.printing import progress_bar, say
from trainable.storage.atomic_files import cache_folder, write_json

MOST = 8  # probes per space: a config that needs more than any of them is retried alone on the GPU
ROOM = Path(__file__).parents[1]  # a measurement is valid until this code changes
PACKAGES = ("torch", "segmentation-models-pytorch", "timm")
STEPS = 4  # in two halves with an evaluation after each, since training may take more memory after an evaluation

T = TypeVar("T")


def largest_footprint(
    configs: Iterable[Config], data: Path, folds: int, fold_seed: int, run: Callable[..., Any] | None = None
) -> Footprint:
    """The footprint of the config that takes the most; earlier measurements on the same kind of GPU are reused.

    ``run`` calls a function in a new process.
    """
    run = run or fresh_process
    configs = list(configs)
    opened = {size: open_data(data, size) for size in dict.fromkeys(config.size for config in configs)}
    classes = len(next(iter(opened.values())).task.classes)
    shapes = heaviest(configs, lambda config: opened[config.size].size, MOST, classes)
    card: Card = run(card_here)
    found: dict[Shape, Footprint] = {}
    with progress_bar(f"measuring memory on {card.name}") as progress:
        for done, (shape, config) in enumerate(shapes.items()):
            progress(done, len(shapes))
            path, facts = _record(shape, card)
            footprint = _recall(path, card)
            if footprint is None:
                footprint = run(measure, config, card, data, folds, fold_seed)
                write_json(path, {**facts, "tensors": footprint.tensors, "context": footprint.context})
            found[shape] = footprint
    shape = max(found, key=lambda shape: found[shape].total)
    taken = f"{found[shape].total / GIB:.1f} of {card.memory / GIB:.1f} GiB"
    say(f"{card.name}: a fold trial takes up to {taken} ({shape})")
    return found[shape]


def card_here() -> Card:
    """The first GPU that this process sees. The query takes some of its memory until the process ends."""
    import torch

    from trainable.machine.device import pick_device

    pick_device("cuda")
    return Card(torch.cuda.get_device_name(), torch.cuda.mem_get_info()[1])


def measure(config: Config, card: Card, folder: Path, folds: int, fold_seed: int, device: str = "cuda") -> Footprint:
    """Pre-train for a few steps, then train, evaluate and write the results of a short fold, in a new process."""
    import torch

    from trainable.machine.device import pick_device, release_memory
    from trainable.pretraining.pretrain import first_steps
    from trainable.pretraining.unlabelled import images_for
    from trainable.training.fold import train_fold

    others = used_memory() - bare_context()
    data = open_data(folder, config.size)
    dealt = folds_of(data, folds, fold_seed)
    # Weights and learning rates do not change the memory, and a frozen encoder needs less of it.
    config = config.model_copy(update={"encoder_weights": None, "encoder_learning_rate": 1.0})
    short = config.model_copy(update={"steps": STEPS, "evaluations": 2, "patience": 0, "pretraining": "none"})
    with tempfile.TemporaryDirectory(prefix="scribble-search-") as scratch:
        try:
            if config.pretraining != "none":
                first_steps(config, images_for(config, data, dealt, 0), 0, pick_device(device), STEPS)
                release_memory()
            for _ in train_fold(short, data, dealt, 0, Path(scratch), device=device):
                pass
        except FoldFailed as failure:  # a NaN loss is no problem: the memory has been measured by then
            if failure.reason == "out_of_memory":
                peak = torch.cuda.max_memory_reserved()
                raise UserError(
                    _too_large(shape_of(config, data.size, len(data.task.classes)), card, peak, others)
                ) from None
    context = used_memory() - torch.cuda.memory_reserved() - others
    return Footprint(torch.cuda.max_memory_reserved(), max(0, context), card)


def fresh_process(work: Callable[..., T], *arguments: Any) -> T:
    try:
        return in_fresh_process(work, *arguments)
    except BrokenProcessPool:
        raise UserError(
            "resources.gpu = auto: the process that measures memory was killed; give a share instead, such as 0.5"
        ) from None


def used_memory() -> int:
    """Bytes of the GPU in use by all processes."""
    import torch

    free, total = torch.cuda.mem_get_info()
    return total - free


def bare_context() -> int:
    """Bytes of a bare CUDA context: the difference that a second process with a context makes."""
    before = used_memory()
    look = "import torch; free, total = torch.cuda.mem_get_info(); print(total - free)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    return int(done.stdout) - before


def _too_large(shape: Shape, card: Card, peak: int, others: int) -> str:
    has = f"{card.name} has {card.memory / GIB:.1f} GiB"
    if others > 0.02 * card.memory:
        has += f", of which other processes use {others / GIB:.1f}"
    return (
        f"one fold trial of {shape} does not fit on a GPU: it needs more than {peak / GIB:.1f} GiB, {has}. "
        "Use smaller batches or a smaller size in the space, or set resources.gpu = 1 to let such configs fail"
    )


def _record(shape: Shape, card: Card) -> tuple[Path, dict[str, Any]]:
    """The file of a cached footprint, and everything that the footprint depends on."""
    sources = b"".join(path.read_bytes() for path in sorted(ROOM.rglob("*.py")))
    facts = {
        "shape": vars(shape) | {"size": list(shape.size)},
        "card": vars(card),
        "packages": {name: version(name) for name in PACKAGES},
        "code": hashlib.sha256(sources).hexdigest(),
    }
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]
    return cache_folder() / "footprints" / f"{name}.json", facts


def _recall(path: Path, card: Card) -> Footprint | None:
    """The cached footprint, or None if there is none or it is damaged."""
    try:
        document = json.loads(path.read_text())
        return Footprint(int(document["tensors"]), int(document["context"]), card)
    except (OSError, ValueError, KeyError, TypeError):
        return None
