"""Applying many chains to all held-out images; the probabilities after a step are computed once per image."""

from __future__ import annotations

import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.refinement.chain import Chain, map_steps, maps_of, mask_of
from analysis.refinement.steps.step import Maps, MapStep, Scene
from search.runs.disk import size
from trainable.data.dataset import Pixels
from trainable.errors import UserError
from trainable.objectives.metrics import Counts, count

Prefix = tuple[MapStep, ...]
MOST_WORKERS = 8
_parsing = threading.Lock()


@dataclass(frozen=True)
class HeldOut:
    """An image and what the fold model that did not train on it predicts; the arrays are in files.

    ``pixels`` is (H, W, C + 2): the image, its scribble, and the labels that it is scored on. ``probability`` is (H, W)
    of two classes, else (K, H, W).
    """

    stem: str
    fold: int
    pixels: Path
    probability: Path

    def read(self, device: torch.device) -> tuple[Scene, Pixels]:
        """What steps see, and the labels."""
        pixels = _load(self.pixels)
        return Scene(pixels[..., :-2], pixels[..., -2], device), pixels[..., -1]


class Trials:
    """``tau`` is the threshold of two classes without post-processing; ``note`` is called after each image."""

    def __init__(
        self,
        images: Sequence[HeldOut],
        classes: int,
        tau: float,
        device: torch.device,
        scratch: Path,
        note: Callable[[], None] = lambda: None,
    ) -> None:
        self.images, self.classes, self.tau, self.device = images, classes, tau, device
        self.scratch, self.note = scratch, note
        self.bytes = sum(image.probability.stat().st_size for image in images)  # of each prefix
        self._stored: dict[Prefix, int] = {}
        self._next = 0

    def evaluate(self, chains: Sequence[Chain], kept: Sequence[Chain]) -> dict[Chain, Counts]:
        """The counts of each image after each chain.

        Probabilities after steps that are in none of these chains and of those ``kept`` are forgotten.
        """
        prefixes = {map_steps(chain) for chain in chains}
        needed = prefixes | {map_steps(chain) for chain in kept}
        for prefix in [prefix for prefix in self._stored if prefix not in needed]:
            number = self._stored.pop(prefix)
            for path in self.scratch.glob(f"maps-*-{number}.npy"):
                path.unlink()
        unknown = sorted(prefixes - self._stored.keys() - {()}, key=repr)
        check_room(self.scratch, self.bytes * len(unknown))
        fresh = dict(zip(unknown, range(self._next, self._next + len(unknown)), strict=True))
        self._next += len(fresh)
        rows: dict[Chain, list[Counts]] = defaultdict(list)
        with self._workers() as pool:
            for counts in pool.map(lambda place: self._counts(place, chains, fresh), range(len(self.images))):
                for chain in chains:
                    rows[chain].append(counts[chain])
                self.note()
        self._stored |= fresh
        return {chain: np.stack(rows[chain]) for chain in chains}

    def _workers(self) -> ThreadPoolExecutor:
        """Images are done side by side, each on one core."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return ThreadPoolExecutor(min(cores, MOST_WORKERS), initializer=lambda: torch.set_num_threads(1))

    def _counts(self, place: int, chains: Sequence[Chain], fresh: dict[Prefix, int]) -> dict[Chain, Counts]:
        scene, truth = self.images[place].read(self.device)
        by_prefix: dict[Prefix, list[Chain]] = defaultdict(list)
        for chain in chains:
            by_prefix[map_steps(chain)].append(chain)
        found = {}
        for prefix, maps in self._maps(place, scene, list(by_prefix), fresh):
            for chain in by_prefix[prefix]:
                found[chain] = count(mask_of(maps, scene, chain, self.tau), truth, self.classes)
        return found

    def _maps(
        self, place: int, scene: Scene, prefixes: Sequence[Prefix], fresh: dict[Prefix, int]
    ) -> Iterator[tuple[Prefix, Maps]]:
        """The probabilities after each of these sequences of steps; those of a kind are computed together."""
        alike: dict[tuple[Prefix, type[MapStep]], list[Prefix]] = defaultdict(list)
        for prefix in prefixes:
            if prefix in fresh:
                alike[prefix[:-1], type(prefix[-1])].append(prefix)
            else:
                yield prefix, self._load(place, prefix)
        for (head, kind), group in alike.items():
            results = kind.apply_each([prefix[-1] for prefix in group], self._load(place, head), scene)
            for prefix, maps in zip(group, results, strict=True):
                half = (maps[1] if len(maps) == 2 else maps).astype(np.float16)
                np.save(self.scratch / f"maps-{place}-{fresh[prefix]}.npy", half)
                yield prefix, maps_of(half)

    def _load(self, place: int, prefix: Prefix) -> Maps:
        path = self.scratch / f"maps-{place}-{self._stored[prefix]}.npy" if prefix else self.images[place].probability
        return maps_of(_load(path))


def check_room(scratch: Path, needed: int) -> None:
    """Raise an error if the disk of a temporary folder lacks that many bytes."""
    free = shutil.disk_usage(scratch).free
    if free < needed:
        raise UserError(
            f"{scratch.parent}: the probabilities of held-out images need {size(needed)} here and {size(free)} are "
            "free: free some space, or set TMPDIR to a folder on another disk"
        )


def _load(path: Path) -> np.ndarray[Any, Any]:
    """Read an array; headers are parsed by one thread at a time, as Python 3.11 may fail otherwise (SystemError)."""
    with _parsing:
        mapped = np.load(path, mmap_mode="r")
    return np.array(mapped)
