"""Which images a model has seen: by what is in them, so that neither a new name nor a new file format hides it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainable.data.dataset import Pixels, read_image


def fingerprint(image: Pixels) -> str:
    """The same pixels give the same fingerprint, whatever lossless file they stand in."""
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()[:32]


def fingerprints(images: Mapping[str, Path], stems: Iterable[str]) -> dict[str, str]:
    """Fingerprint to stem, of those images that can still be found."""
    found = [stem for stem in stems if stem in images]
    with ThreadPoolExecutor() as pool:
        prints = pool.map(lambda stem: fingerprint(read_image(images[stem])), found)
        return dict(zip(prints, found, strict=True))
