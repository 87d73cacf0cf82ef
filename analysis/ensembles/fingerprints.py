"""Recognise training images by their content, even under a new name or in another file format."""

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainable.data.dataset import Pixels
from trainable.data.reading import read_image


def fingerprint(image: Pixels) -> str:
    """A hash of the pixels, independent of the (lossless) file format."""
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()[:32]


def fingerprints(images: Mapping[str, Path], stems: Iterable[str]) -> dict[str, str]:
    """The stem of each fingerprint, for images that still exist."""
    found = [stem for stem in stems if stem in images]
    with ThreadPoolExecutor() as pool:
        prints = pool.map(lambda stem: fingerprint(read_image(images[stem])), found)
        return dict(zip(prints, found, strict=True))
