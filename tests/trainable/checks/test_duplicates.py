"""Which pictures count as the same, on pictures drawn here; what photographs score stands beside the thresholds."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from trainable.checks.duplicates import Duplicate, digest, find_duplicates, thumbnail
from trainable.data.dataset import Pixels

WIDTH, HEIGHT = 250, 188


def picture(seed: int) -> Image.Image:
    """Blotches of every size, from a quarter of the picture to a few pixels, as photographs have them."""
    rng = np.random.default_rng(seed)
    total = np.zeros((HEIGHT, WIDTH, 3))
    for cells, strength in ((4, 60), (12, 35), (40, 20)):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8)).resize((WIDTH, HEIGHT), 3)
        total += strength * (np.asarray(noise) / 127.5 - 1)
    return Image.fromarray((np.clip(total + 120, 0, 255)).astype(np.uint8))


def found(*pictures: Image.Image) -> list[Duplicate]:
    pixels: list[Pixels] = [np.asarray(one.convert("RGB")) for one in pictures]
    return find_duplicates([digest(one) for one in pixels], [thumbnail(one) for one in pixels])


def as_jpeg(image: Image.Image, quality: int = 40) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of quality 40": as_jpeg,
    "half size": lambda image: image.resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.LANCZOS),
    "double size": lambda image: image.resize((WIDTH * 2, HEIGHT * 2), Image.Resampling.BICUBIC),
    "15 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "15 % darker": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
    "grey": lambda image: image.convert("L"),
    "trimmed by 2 % on every side": lambda image: image.crop((5, 4, WIDTH - 5, HEIGHT - 4)),
    "half size, brighter, JPEG": lambda image: as_jpeg(ImageEnhance.Brightness(image.resize((125, 94))).enhance(1.15)),
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_changed_copies_are_near_duplicates(change: Callable[[Image.Image], Image.Image]) -> None:
    originals = [picture(seed) for seed in range(8)]
    assert found(*originals, change(originals[5])) == [Duplicate(5, 8, exact=False)]


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_changed_copies_are_found_when_mirrored(change: Callable[[Image.Image], Image.Image]) -> None:
    originals = [picture(seed) for seed in range(8)]
    assert found(*originals, mirrored(change(originals[5]))) == [Duplicate(5, 8, exact=False, mirrored=True)]


def test_different_pictures_are_no_duplicates() -> None:
    assert found(*(picture(seed) for seed in range(60))) == []


def test_equal_pixels_are_exact_duplicates_and_never_near_ones_as_well() -> None:
    assert found(picture(0), picture(1), picture(0), picture(0)) == [
        Duplicate(0, 2, exact=True),
        Duplicate(0, 3, exact=True),
    ]


def test_equal_bytes_of_another_shape_are_not_equal_pixels() -> None:
    assert digest(np.zeros((4, 6, 3), np.uint8)) != digest(np.zeros((6, 4, 3), np.uint8))


def test_flat_pictures_are_duplicates_only_of_their_equals() -> None:
    grey = [Image.new("RGB", (WIDTH, HEIGHT), (level, level, level)) for level in (0, 90, 91, 255, 90)]
    assert found(*grey) == [Duplicate(1, 4, exact=True)]


def test_pictures_that_are_flat_but_for_noise_are_no_duplicates() -> None:
    rng = np.random.default_rng(0)
    noisy = [Image.fromarray(rng.integers(120, 130, (HEIGHT, WIDTH, 3), np.uint8)) for _ in range(10)]
    assert found(*noisy) == []


def gradient(low: int, high: int) -> Image.Image:
    row = np.linspace(low, high, WIDTH).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(row[None, :, None], (HEIGHT, WIDTH, 3)).copy())


def test_smooth_pictures_that_have_no_detail_to_compare_are_no_duplicates() -> None:
    assert found(gradient(100, 130), gradient(90, 125), gradient(140, 100)) == []


def behind(frame: np.ndarray[Any, Any], image: Image.Image) -> Image.Image:
    return Image.fromarray(np.where(frame[..., None], 0, np.asarray(image)).astype(np.uint8))


def test_letterbox_bars_make_no_duplicates() -> None:
    bars = np.ones((HEIGHT, WIDTH), np.bool_)
    bars[30:-30] = False
    pictures = [behind(bars, picture(seed)) for seed in range(12)]
    assert found(*pictures, as_jpeg(pictures[7])) == [Duplicate(7, 12, exact=False)]


def test_what_all_pictures_share_makes_no_duplicates() -> None:
    """As through an endoscope: a round view of something smooth, so that most of the detail is the rim's."""
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    rim = np.hypot(rows - HEIGHT / 2, columns - WIDTH / 2) > HEIGHT / 2
    smooth = [ImageEnhance.Contrast(picture(seed).resize((6, 5))).enhance(0.4) for seed in range(40)]
    pictures = [behind(rim, image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) for image in smooth]
    assert found(*pictures) == []
    assert found(*pictures, *(behind(rim, picture(seed)) for seed in (0, 1)), behind(rim, as_jpeg(picture(1)))) == [
        Duplicate(41, 42, exact=False)
    ]


def test_a_symmetric_picture_is_not_a_duplicate_of_itself() -> None:
    half = np.asarray(picture(0))
    symmetric = Image.fromarray(np.concatenate([half, half[:, ::-1]], axis=1))
    assert found(symmetric, picture(1)) == []


def test_k_copies_are_reported_as_k_minus_1_pairs() -> None:
    copies = [as_jpeg(picture(0), quality) for quality in (30, 40, 50, 60, 70)]
    pairs = found(picture(1), *copies)
    assert len(pairs) == 4
    assert {pair.second for pair in pairs} | {pair.first for pair in pairs} == {1, 2, 3, 4, 5}


def test_more_pictures_than_one_block_of_rows_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [picture(seed) for seed in range(10)]
    copies = [as_jpeg(pictures[2]), mirrored(pictures[9])]
    whole = found(*pictures, *copies)
    monkeypatch.setattr("trainable.checks.duplicates.BLOCK", 3)
    assert (
        found(*pictures, *copies)
        == whole
        == [Duplicate(2, 10, exact=False), Duplicate(9, 11, exact=False, mirrored=True)]
    )


@pytest.mark.parametrize("count", [0, 1])
def test_a_single_image_has_no_duplicate(count: int) -> None:
    assert found(*[picture(0)] * count) == []
