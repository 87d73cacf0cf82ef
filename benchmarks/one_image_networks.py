"""Images per second of small networks, each trained on its own image: many at once against one by one.

    python benchmarks/one_image_networks.py [--data DIR] [--images 24] [--rounds 3] [--method cnn] [--set KEY=VALUE]

Three ways take turns in one process, on all of its cores, and ratios are taken within a round:

* at once: `segment` with all images, as a fold trial calls it;
* alone: `segment` with one image after the other, the same program without batches;
* ordinary: for each image a module and the usual loop, the whole image forwards and backwards in every iteration, the
  same initial weights, number of iterations and optimizer.

All predict the whole image at the end. The ordinary loop is so slow that each round runs it on one image only. The
mIoU of all three is that of these images, which shows whether speed was bought with quality.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.machine import command_line, commit, machine
from trainable.config import parse_assignments
from trainable.config.images.small_network_fields import SmallNetworkFields
from trainable.data.dataset import UNLABELLED, open_split
from trainable.data.reading import read_image, read_mask, read_scribble
from trainable.data.synthetic.synthesize import synthesize
from trainable.images.method import Probabilities, ScribbledImage
from trainable.images.methods.cnn import cnn
from trainable.images.methods.pixelwise import pixelwise
from trainable.images.methods.unet import unet
from trainable.images.small_networks.network_inputs import window_inputs
from trainable.images.small_networks.network_method import NetworkMethod
from trainable.machine.device import pick_device
from trainable.printing import print_table, progress_bar, say
from trainable.storage.atomic_files import write_json

RESULTS = Path(__file__).parent / "results"
METHODS = {"pixelwise": pixelwise, "cnn": cnn, "unet": unet}
GOAL = 8  # times the images/s of the ordinary loop

Way = Callable[[Sequence[ScribbledImage]], list[Probabilities]]


class Settings(SmallNetworkFields):
    inputs: str = "colour+xy"


def read(folder: Path, count: int) -> tuple[list[ScribbledImage], list[np.ndarray]]:
    """The first images that have scribbles of both classes, and their truth."""
    split = open_split(folder)
    images, truth = [], []
    for stem in split.stems:
        scribble = read_scribble(split.scribbles[stem])
        if len(np.unique(scribble)) == 3 and len(images) < count:
            images.append(ScribbledImage(read_image(split.images[stem]), scribble, None, len(images)))
            truth.append(read_mask(split.truth[stem]))
    return images, truth


def ordinary(method: NetworkMethod, config: Settings, device: torch.device, image: ScribbledImage) -> Probabilities:
    """What one writes for one image."""
    torch.manual_seed(image.seed)
    height, width = image.scribble.shape
    inputs = window_inputs(image, config.inputs, range(height), range(width))[None].to(device)
    labels = torch.from_numpy(image.scribble.astype(np.int64))[None].to(device)
    network = method.build(inputs.shape[1], 2).to(device)
    optimizer = torch.optim.Adam(network.parameters(), config.learning_rate)
    for _ in range(config.iterations):
        loss = F.cross_entropy(network(inputs), labels, ignore_index=UNLABELLED)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        probabilities: Probabilities = network(inputs)[0].softmax(0).cpu().numpy()
    return probabilities


def miou(predictions: Sequence[Probabilities], truth: Sequence[np.ndarray]) -> float:
    """Of the counts of all images together."""
    counts = np.zeros((2, 2))
    for probabilities, mask in zip(predictions, truth, strict=True):
        np.add.at(counts, (mask[mask < 2], probabilities.argmax(0)[mask < 2]), 1)
    return float((counts.diagonal() / (counts.sum(0) + counts.sum(1) - counts.diagonal())).mean())


def measure(
    name: str, config: Settings, images: list[ScribbledImage], truth: list[np.ndarray], options: argparse.Namespace
) -> dict[str, Any]:
    device = pick_device(options.device)
    method = METHODS[name](config)
    ways: dict[str, Way] = {
        "at once": lambda some: method.segment(some, 2, device),
        "alone": lambda some: [method.segment([image], 2, device)[0] for image in some],
        "ordinary": lambda some: [ordinary(method, config, device, image) for image in some],
    }
    ways["at once"](images[:2])  # what only the first call does
    rates: dict[str, list[float]] = {way: [] for way in ways}
    predictions: dict[str, dict[int, Probabilities]] = {way: {} for way in ways}
    chosen = [number % len(images) for number in range(options.rounds)]
    with progress_bar(name) as progress:
        for done, (turn, (way, segment)) in enumerate(itertools.product(range(options.rounds), ways.items())):
            numbers = [chosen[turn]] if way == "ordinary" else list(range(len(images)))
            start = time.perf_counter()
            found = segment([images[number] for number in numbers])
            rates[way].append(len(numbers) / (time.perf_counter() - start))
            predictions[way] |= dict(zip(numbers, found, strict=True))
            progress(done + 1, options.rounds * len(ways))
    row: dict[str, Any] = {"method": name}
    for way in ways:
        row[f"{way}: images/s"] = statistics.median(rates[way])
    for way in ("alone", "ordinary"):
        ratios = [fast / slow for fast, slow in zip(rates["at once"], rates[way], strict=True)]
        row[f"times {way}"] = statistics.median(ratios)
    for way in ways:
        row[f"{way}: mIoU"] = miou([predictions[way][number] for number in chosen], [truth[n] for n in chosen])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a data set of two classes; without it, synthetic images")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--size", default="500x375", help="of synthetic images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", action="append", choices=METHODS, help="default: all")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=RESULTS / "one_image_networks.json")
    options = parser.parse_args()
    config = Settings.model_validate(parse_assignments(options.set))
    with tempfile.TemporaryDirectory(prefix="scribble-search-") as scratch:
        if options.data is None:
            width, height = (int(part) for part in options.size.split("x"))
            synthesize(Path(scratch) / "data", options.images, 0, width, height, 0)
        images, truth = read(options.data or Path(scratch) / "data", options.images)
    rows = [measure(name, config, images, truth, options) for name in options.method or METHODS]
    document = {
        "command": command_line(),
        "commit": commit(),
        "machine": machine("torch"),
        "settings": config.model_dump(),
        "goal": GOAL,
    }
    write_json(options.out, {**document, "images": len(images), "methods": rows})
    print_table(rows)
    say(f"Written to {options.out}")


if __name__ == "__main__":
    main()
