"""The synthetic data set: of the right format, the same from the same seed, and a problem worth solving."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from trainable.data import dataset, scribbles
from trainable.data.reading import read_image, read_mask, read_scribble
from trainable.data.synthetic import scenes, synthesize
from trainable.data.synthetic.scenes import make_sample
from trainable.errors import UserError

Pixels = npt.NDArray[np.uint8]
WIDTH, HEIGHT, IMAGES = 112, 80, 40


def make(folder: Path, images: int = 3, test_images: int = 0, seed: int = 0) -> Path:
    synthesize.synthesize(folder, images, test_images, WIDTH, HEIGHT, seed)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("synthetic") / "data", IMAGES, 5)


@pytest.fixture(scope="module")
def samples(folder: Path) -> list[tuple[Pixels, Pixels, Pixels]]:
    split = dataset.open_split(folder)
    return [
        (read_image(split.images[stem]), read_scribble(split.scribbles[stem]), read_mask(split.truth[stem]))
        for stem in split.stems
    ]


def test_every_reader_accepts_every_file(folder: Path, samples: list[tuple[Pixels, Pixels, Pixels]]) -> None:
    assert len(samples) == IMAGES
    for image, scribble, mask in samples:
        assert image.shape == (HEIGHT, WIDTH, 3)
        assert scribble.shape == mask.shape == (HEIGHT, WIDTH)
    splits = dataset.find_splits(folder)
    assert list(splits) == ["test1", "train"]
    assert not splits["test1"].labelled and len(splits["test1"].stems) == 5
    assert not any(split.missing_partners() for split in splits.values())
    assert not set(splits["train"].stems) & set(splits["test1"].stems)


def test_files_have_the_modes_of_real_ones(folder: Path) -> None:
    train = dataset.open_split(folder)
    with (
        Image.open(train.images[train.stems[0]]) as image,
        Image.open(train.scribbles[train.stems[0]]) as scribble,
        Image.open(train.truth[train.stems[0]]) as truth,
    ):
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert (scribble.format, scribble.mode) == ("PNG", "RGB")
        assert (truth.format, truth.mode) == ("PNG", "P")
        assert set(np.unique(np.asarray(scribble))) == {0, 1, 255}
        assert set(np.unique(np.asarray(truth))) == {0, 1}


def test_there_is_no_test_split_by_default(tmp_path: Path) -> None:
    assert list(dataset.find_splits(make(tmp_path / "data", 1))) == ["train"]


@pytest.mark.parametrize(("width", "height"), [(64, 64), (160, 128), (64, 400), (700, 64)])
def test_scribbles_lie_on_their_class_and_mark_both(width: int, height: int) -> None:
    for seed in range(25):
        _, scribble, mask = make_sample(np.random.default_rng(seed), width, height)
        foreground, background = scribble == scribbles.FOREGROUND_STROKE, scribble == scribbles.BACKGROUND_STROKE
        assert foreground.any() and background.any()
        assert np.all(mask[foreground] == 1) and np.all(mask[background] == 0)


def test_scribbles_in_files_lie_on_their_class(samples: list[tuple[Pixels, Pixels, Pixels]]) -> None:
    for _, scribble, mask in samples:
        assert np.all(mask[scribble == dataset.FOREGROUND] == 1)
        assert np.all(mask[scribble == dataset.BACKGROUND] == 0)


def test_every_foreground_component_of_note_is_scribbled_on(samples: list[tuple[Pixels, Pixels, Pixels]]) -> None:
    counts = []
    for _, scribble, mask in samples:
        count, labels = cv2.connectedComponents(mask)
        counts.append(count - 1)
        for label in range(1, count):
            component = labels == label
            assert (scribble[component] == dataset.FOREGROUND).any() or component.mean() < 0.005
    assert max(counts) >= 3 and min(counts) == 1


def test_foreground_share_varies_within_its_range(samples: list[tuple[Pixels, Pixels, Pixels]]) -> None:
    shares = [float(mask.mean()) for _, _, mask in samples]
    assert min(shares) >= 0.05 and max(shares) <= 0.6
    assert 0.18 < np.mean(shares) < 0.28
    assert np.std(shares) > 0.08


def test_scribbles_cover_about_as_much_as_real_ones() -> None:
    covered = [(make_sample(np.random.default_rng(seed), 500, 375)[1] > 0).mean() for seed in range(12)]
    assert 0.010 < np.mean(covered) < 0.022


def test_some_background_object_is_of_a_foreground_kind() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        things = scenes._lay_out(rng, 0.2, scenes._colour(rng), WIDTH, HEIGHT)
        wanted = [thing.kind for thing in things if thing.foreground]
        others = [thing.kind for thing in things if not thing.foreground]
        assert 1 <= len(wanted) <= 3 and len(others) >= 2
        assert any(kind is other for kind in wanted for other in others)


def test_not_even_the_true_colours_of_the_foreground_tell_it_apart(
    samples: list[tuple[Pixels, Pixels, Pixels]],
) -> None:
    """Per image and colour, whether most of its pixels are foreground: the best that colour alone can do."""
    intersection = union = 0
    for image, _, mask in samples:
        bins = (image // 32).astype(int) @ np.array([64, 8, 1])
        share = np.bincount(bins.ravel(), mask.ravel(), 512) / np.maximum(np.bincount(bins.ravel(), minlength=512), 1)
        guess = share[bins] > 0.5
        intersection += int((guess & (mask == 1)).sum())
        union += int((guess | (mask == 1)).sum())
    assert 0.3 < intersection / union < 0.75


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(tmp_path: Path) -> None:
    first, again, other = (
        contents(make(tmp_path / name, 3, 2, seed)) for name, seed in zip("abc", (1, 1, 2), strict=True)
    )
    assert first == again
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first)


def test_two_classes_are_drawn_as_in_the_first_version(tmp_path: Path) -> None:
    """By labels and mean colours: the bytes of files also depend on the versions of the libraries."""
    expected = {
        "test1/images/test1_00000.jpg": (70.05, 108.66, 145.75),
        "test1/scribbles/test1_00000.png": "3a34d243bfdf2426",
        "train/ground_truth/train_00000.png": "a52f27d85a3eb8ee",
        "train/ground_truth/train_00001.png": "53a4fa65968fc118",
        "train/images/train_00000.jpg": (171.79, 154.51, 171.60),
        "train/images/train_00001.jpg": (136.38, 182.42, 157.53),
        "train/scribbles/train_00000.png": "94e1c46c7b19d6f0",
        "train/scribbles/train_00001.png": "df3fbaa457f7b4c0",
    }
    folder = make(tmp_path / "data", 2, 1, seed=7)
    assert contents(folder).keys() == expected.keys()
    for name, drawn in expected.items():
        with Image.open(folder / name) as image:
            pixels = np.asarray(image)
        if isinstance(drawn, str):
            assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == drawn, name
        else:
            assert pixels.mean(axis=(0, 1)) == pytest.approx(drawn, abs=0.1), name


def test_a_larger_set_begins_with_the_smaller_one(tmp_path: Path) -> None:
    small, large = contents(make(tmp_path / "small", 2, 1)), contents(make(tmp_path / "large", 4, 3))
    assert len(large) > len(small)
    assert all(large[name] == data for name, data in small.items())


def test_train_and_test_images_differ(folder: Path) -> None:
    images = [path.read_bytes() for path in folder.rglob("*.jpg")]
    assert len(set(images)) == len(images) == IMAGES + 5


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert dataset.open_split(make(tmp_path / "data", 1)).stems


def test_progress_counts_every_image(tmp_path: Path) -> None:
    heard: list[int] = []
    synthesize.synthesize(tmp_path / "data", 3, 2, 64, 64, 0, heard.append)
    assert heard == [1, 2, 3, 4, 5]


def test_a_data_set_appears_at_once_and_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "data"

    def interrupt(done: int) -> None:
        assert not target.exists()
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize.synthesize(target, 3, 0, 64, 64, 0, interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0, 0, 64, 64, 0), "0 images: at least 1"),
        ((1, -1, 64, 64, 0), "-1 test images: 0 or more"),
        ((1, 0, 63, 64, 0), "63x64: allowed are 64x64 to 4096x4096"),
        ((1, 0, 64, 5000, 0), "64x5000: allowed are 64x64 to 4096x4096"),
        ((1, 0, 64, 64, -1), "seed -1: 0 or more"),
    ],
)
def test_what_cannot_be_made_is_refused_with_what_is_allowed(
    tmp_path: Path, arguments: tuple[int, int, int, int, int], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        synthesize.synthesize(tmp_path / "data", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_what_is_already_there_is_never_touched(tmp_path: Path) -> None:
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    file.write_text("mine")
    for target in (full, file):
        with pytest.raises(UserError, match=f"{target.name}: .*new or empty"):
            make(target, 1)
    assert (full / "mine.txt").read_text() == file.read_text() == "mine"


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="data: cannot be written"):
        make(tmp_path / "file" / "data", 1)
