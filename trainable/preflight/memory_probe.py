"""How much of a GPU a fold trial takes, measured: the fold loop itself is run for a few steps, and the card is asked.

Every measurement has a process of its own, so that nothing of one is counted in the next and the search holds no part
of a GPU. It takes the card to be nobody else's. What was measured is remembered beside the decoded data.
"""

from __future__ import annotations

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

MOST = 8  # probes of a space: a config that none of them spoke for still has its second chance alone on the card
ROOM = Path(__file__).parents[1]  # a measurement holds for as long as no code of the fold loop changes
PACKAGES = ("torch", "segmentation-models-pytorch", "timm")
STEPS = 4  # in two halves with an evaluation after each: training after an evaluation may take more than before

T = TypeVar("T")


def largest_footprint(
    configs: Iterable[Config], data: Path, folds: int, fold_seed: int, run: Callable[..., Any] | None = None
) -> Footprint:
    """The footprint of the config that takes the most; what was measured before on such a card is not again.

    ``run`` calls a function in a process of its own.
    """
    run = run or _in_fresh_process
    configs = list(configs)
    sizes = {size: open_data(data, size).size for size in dict.fromkeys(config.size for config in configs)}
    shapes = heaviest(configs, lambda config: sizes[config.size], MOST)
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
    """The GPU that this process sees first. Asking takes some of its memory, until the process ends."""
    import torch

    from trainable.machine.device import pick_device

    pick_device("cuda")
    return Card(torch.cuda.get_device_name(), torch.cuda.mem_get_info()[1])


def measure(config: Config, card: Card, folder: Path, folds: int, fold_seed: int, device: str = "cuda") -> Footprint:
    """Train, evaluate and write the results of a fold, all of it short, in a process that has done nothing before."""
    import torch

    from trainable.training.fold import train_fold

    others = _used() - _bare_context()
    data = open_data(folder, config.size)
    dealt = folds_of(data, folds, fold_seed)
    short = config.model_copy(update={"steps": STEPS, "evaluations": 2, "patience": 0})
    with tempfile.TemporaryDirectory(prefix="scribble-search-") as scratch:
        try:
            for _ in train_fold(short, data, dealt, 0, Path(scratch), device=device):
                pass
        except FoldFailed as failure:  # of NaN it may fail: by then it has taken what it takes
            if failure.reason == "out_of_memory":
                peak = torch.cuda.max_memory_reserved()
                raise UserError(_too_large(shape_of(config, data.size), card, peak, others)) from None
    context = _used() - torch.cuda.memory_reserved() - others
    return Footprint(torch.cuda.max_memory_reserved(), max(0, context), card)


def _in_fresh_process(work: Callable[..., T], *arguments: Any) -> T:
    try:
        return in_fresh_process(work, *arguments)
    except BrokenProcessPool:
        raise UserError(
            "resources.gpu = auto: the process that measures memory was killed; give a share instead, such as 0.5"
        ) from None


def _used() -> int:
    """Bytes of the card that are taken, by whomever."""
    import torch

    free, total = torch.cuda.mem_get_info()
    return total - free


def _bare_context() -> int:
    """Bytes that a process takes by looking at the card: what a second one finds taken while this one looks."""
    before = _used()
    look = "import torch; free, total = torch.cuda.mem_get_info(); print(total - free)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    return int(done.stdout) - before


def _too_large(shape: Shape, card: Card, peak: int, others: int) -> str:
    has = f"{card.name} has {card.memory / GIB:.1f} GiB"
    if others > 0.02 * card.memory:
        has += f", of which others hold {others / GIB:.1f}"
    return (
        f"one fold trial of {shape} does not fit on a GPU: it needs more than {peak / GIB:.1f} GiB, {has}. "
        "Take a smaller batch_size or size out of the space, or give resources.gpu = 1 to let such configs fail"
    )


def _record(shape: Shape, card: Card) -> tuple[Path, dict[str, Any]]:
    """Where a footprint is remembered, and all that it depends on."""
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
    """None where nothing is remembered, or it cannot be read."""
    try:
        told = json.loads(path.read_text())
        return Footprint(int(told["tensors"]), int(told["context"]), card)
    except (OSError, ValueError, KeyError, TypeError):
        return None
