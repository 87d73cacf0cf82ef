"""What methods that segment one image at a time cost, and the error of each shortcut that makes them fast.

    python benchmarks/one_image.py DATA [--images 12] [--threads 2] [--device auto] [--set KEY=VALUE]

Of ``colour_distributions``: the median time per image of each of its parts, by the clock and of all processors (which
other work on the machine hardly affects; take it with --threads 1), and how much each shortcut saves and changes: all
scribbled pixels as sources instead of some, the image at full size, a relaxation to a far smaller gap.
"labels" is the share of pixels that get another class, and "miou" the pooled score, for which alone the masks are read.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from pydantic import ValidationError

from benchmarks.machine import command_line, commit, machine
from trainable.config.images.colour_fields import ColourFields
from trainable.data.dataset import open_split
from trainable.data.reading import read_image, read_mask, read_scribble
from trainable.errors import UserError
from trainable.images import densities
from trainable.images.method import Probabilities, ScribbledImage
from trainable.images.methods import colour_distributions
from trainable.images.methods.colour_distributions import ColourDistributions
from trainable.machine.device import pick_device
from trainable.objectives.metrics import count, scores
from trainable.printing import print_table, progress_bar, say
from trainable.storage.atomic_files import write_json

RESULTS = Path(__file__).parent / "results"
PARTS = ("_reduced", "log_densities", "scribble_distances", "colour_distances", "edge_weights", "relax", "_enlarged")
WHOLE = "an image"
ALL = 10**9  # sources: more than any image has


class Clock:
    """Adds up the seconds of named functions, by the clock and of all processors."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, np.ndarray] = {}

    def now(self) -> np.ndarray:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return np.array([time.perf_counter(), time.process_time()])

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            began = self.now()
            result = work(*args, **kwargs)
            self.seconds[name] = self.seconds.get(name, np.zeros(2)) + self.now() - began
            return result

        return call


@contextmanager
def timed_parts(clock: Clock) -> Iterator[None]:
    parts = {name: clock.timed(name, getattr(colour_distributions, name)) for name in PARTS}
    with patch.multiple(colour_distributions, **parts):
        yield


def part_seconds(
    images: list[ScribbledImage], config: ColourFields, device: torch.device
) -> tuple[list[Probabilities], list[dict[str, Any]]]:
    """The probabilities of images segmented one by one, and a row per part with its median time; the first warms up."""
    method = ColourDistributions(config)
    method.segment(images[:1], 2, device)
    found, rounds = [], []
    for image in images:
        clock = Clock(device)
        with timed_parts(clock):
            found += clock.timed(WHOLE, method.segment)([image], 2, device)
        rounds.append(clock.seconds)
    rows = []
    for name in (WHOLE, *PARTS):
        seconds = np.median([each.get(name, np.zeros(2)) for each in rounds], axis=0)
        rows.append({"part": name.strip("_"), "ms": 1000 * seconds[0], "cpu_ms": 1000 * seconds[1]})
    return found, rows


def score(found: list[Probabilities], masks: list[np.ndarray]) -> float:
    return scores(np.stack([count(each.argmax(axis=0), mask) for each, mask in zip(found, masks, strict=True)]))["miou"]


def compared(
    name: str,
    found: list[Probabilities],
    parts: list[dict[str, Any]],
    usual: list[Probabilities],
    masks: list[np.ndarray],
) -> dict[str, Any]:
    """A row of the table of shortcuts."""
    changed = [(one.argmax(axis=0) != other.argmax(axis=0)).mean() for one, other in zip(found, usual, strict=True)]
    times = {key: parts[0][key] for key in ("ms", "cpu_ms")}
    return {"setting": name, **times, "labels": float(np.mean(changed)), "miou": score(found, masks)}


def density_error(images: list[ScribbledImage], config: ColourFields, device: torch.device) -> float:
    """Of thinned-out sources, at the working size."""
    errors = []
    for image in images:
        ratios = []
        for most in (ALL, densities.MOST_SOURCES):
            seen: list[torch.Tensor] = []

            def recorded(*args: Any, most: int = most, seen: list[torch.Tensor] = seen) -> torch.Tensor:
                seen.append(densities.log_densities(*args, most_sources=most))
                return seen[-1]

            with patch.object(colour_distributions, "log_densities", recorded):
                ColourDistributions(config).segment([image], 2, device)
            ratios += [each[:, 1] - each[:, 0] for each in seen if each.shape[1] == 2]
        if ratios:
            errors.append((ratios[0] - ratios[1]).abs().mean().item())
    return statistics.fmean(errors) if errors else 0.0


def config_of(settings: list[str]) -> ColourFields:
    try:
        return ColourFields.model_validate(dict(setting.split("=", 1) for setting in settings), extra="forbid")
    except ValidationError as error:
        problem = error.errors()[0]
        raise UserError(f"--set: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
    except ValueError:
        raise UserError("--set: expects KEY=VALUE") from None


def run(options: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    config = config_of(options.set)
    split = open_split(options.data)
    chosen = [split.stems[round(place)] for place in np.linspace(0, len(split.stems) - 1, options.images)]
    images = [
        ScribbledImage(read_image(split.images[stem]), read_scribble(split.scribbles[stem]), None, place)
        for place, stem in enumerate(chosen)
    ]
    masks = [read_mask(split.truth[stem]) for stem in chosen]
    side = max(max(image.scribble.shape) for image in images)

    def with_changes(**changes: Any) -> tuple[ColourFields, Any]:
        return config.model_copy(update=changes), nullcontext()

    half = max(16, config.working_size // 2)
    shortcuts: dict[str, tuple[ColourFields, Any]] = {
        f"sources: all instead of {densities.MOST_SOURCES}": (
            config,
            patch.object(densities.log_densities, "__defaults__", (None, None, ALL)),
        ),
        f"working_size: {side}": with_changes(working_size=side),
        f"working_size: {2 * config.working_size}": with_changes(working_size=2 * config.working_size),
        f"working_size: {half}": with_changes(working_size=half),
        "relaxation_gap: 1e-6": with_changes(relaxation_gap=1e-6, relaxation_steps=20 * config.relaxation_steps),
    }
    with progress_bar("one image at a time") as progress:
        usual, parts = part_seconds(images, config, device)
        rows = [compared("as configured", usual, parts, usual, masks)]
        for done, (name, (changed, patched)) in enumerate(shortcuts.items()):
            progress(done + 1, len(shortcuts) + 1)
            with patched:
                rows.append(compared(name, *part_seconds(images, changed, device), usual, masks))
        error = density_error(images, config, device)
    return {
        "command": command_line(),
        "commit": commit(),
        "machine": machine("torch") | {"threads": options.threads, "device": str(device)},
        "images": len(images),
        "config": config.model_dump(mode="json"),
        "parts": parts,
        "shortcuts": rows,
        "error_of_sources": error,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set a hyperparameter")
    parser.add_argument("--out", type=Path, default=RESULTS / "one_image.json")
    options = parser.parse_args()
    try:
        document = run(options)
    except UserError as error:
        parser.error(str(error))
    write_json(options.out, document)
    print_table(document["parts"], "median time per image")
    print_table(document["shortcuts"], "what shortcuts save and change")
    say(
        f"Mean error of the logarithm of ratios of densities by thinned-out sources: {document['error_of_sources']:.3f}"
    )
    say(f"Written to {options.out}")


if __name__ == "__main__":
    main()
