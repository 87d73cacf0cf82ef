"""Times and measures the memory of a method on a few images of a data set."""

import time
from pathlib import Path

import cv2
import torch

from trainable.config import ImageConfig
from trainable.data.image_files import ImageFiles, open_files
from trainable.errors import UserError
from trainable.images.pretrained.features import Weights, example
from trainable.images.segmenter import Segmenter
from trainable.machine.device import is_out_of_memory, pick_device
from trainable.machine.hardware import cpu_name
from trainable.machine.memory_footprint import Card, Footprint
from trainable.preflight.memory_probe import bare_context, used_memory
from trainable.preflight.step_times import FEWEST_IMAGES


def time_images(config: ImageConfig, folder: Path, threads: int, device: str) -> tuple[str, float]:
    """The device's name and the seconds per image on it with this number of threads, in whole batches."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    place, files = pick_device(device), open_files(folder)
    segmenter = Segmenter(config, len(files.task.classes), place, example(config, files, place))
    done, spent = 0, 0.0
    for batch in segmenter.batches([files.size(stem) for stem in files.stems]):
        images = [files.read(files.stems[position]) for position in batch]
        began = time.perf_counter()
        segmenter.segment(images)
        spent, done = spent + time.perf_counter() - began, done + len(images)
        if done >= FEWEST_IMAGES:
            break
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else cpu_name()
    return name, spent / done


def measure_images(
    config: ImageConfig, card: Card, folder: Path, weights: Weights | None = None, device: str = "cuda"
) -> Footprint:
    """The GPU memory of the largest batch, in a new process; ``weights`` are files that have been opened already."""
    others = used_memory() - bare_context()
    files = open_files(folder)
    place = pick_device(device)
    segmenter = Segmenter(config, len(files.task.classes), place, example(config, files, place, weights))
    order = sorted(files.stems, key=lambda stem: _pixels(files, stem), reverse=True)
    batch = next(segmenter.batches([files.size(stem) for stem in order]))
    try:
        segmenter.segment([files.read(order[position]) for position in batch])
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"method = {config.method}: a batch of {len(batch)} images does not fit on {card.name}; "
            "use a smaller size, or set resources.gpu = 1 to let such configs fail"
        ) from None
    context = used_memory() - torch.cuda.memory_reserved() - others
    return Footprint(torch.cuda.max_memory_reserved(), max(0, context), card)


def _pixels(files: ImageFiles, stem: str) -> int:
    width, height = files.size(stem)
    return width * height
