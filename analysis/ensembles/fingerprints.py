"""Recognise training images by their content, even under a new name or in another file format."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from trainable.data.dataset import Pixels
from trainable.data.reading import read_image
from trainable.printing import plural

SEEN, SEEN_IMAGES, MISSING = "trained_on", "trained_on_images", "trained_on_missing"  # of an ensemble's manifest


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


def facts(images: Mapping[str, Path], stems: Sequence[str]) -> dict[str, Any]:
    """What a manifest says of these training images, of which ``images`` has those that are on this machine."""
    missing = sum(stem not in images for stem in stems)
    known = {SEEN: fingerprints(images, stems), SEEN_IMAGES: len(stems)}
    return known | ({MISSING: missing} if missing else {})


def unrecognised(manifest: Mapping[str, Any]) -> str:
    """Why some training images cannot be recognised; empty if all can."""
    missing = manifest.get(MISSING, 0 if manifest[SEEN] else manifest[SEEN_IMAGES])
    if not missing:
        return ""
    return (
        f"{missing} of {plural(manifest[SEEN_IMAGES], 'training image')} were missing when the ensemble was built, "
        "so predict does not recognise them and evaluate scores masks of them"
    )
