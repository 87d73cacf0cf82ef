import json
import multiprocessing
import pickle
import shutil
from collections import namedtuple

import numpy as np
import pytest
from PIL import Image

from trainable.data import decoded_images as cache_module
from trainable.data.decoded_images import open_data
from trainable.data.packed_labels import pack, repack, unpack
from trainable.data.reading import read_image, read_mask
from trainable.errors import UserError


@pytest.fixture
def folder(small_folder, tmp_path):
    return shutil.copytree(small_folder, tmp_path / "data")


def test_pixels_are_resized_as_promised(small_folder, small_cache):
    data = open_data(small_folder, cache=small_cache)
    stem = data.stems[3]
    image = Image.fromarray(read_image(small_folder / "train/images" / f"{stem}.jpg"))
    mask = Image.fromarray(read_mask(small_folder / "train/ground_truth" / f"{stem}.png"))
    assert data.size == (96, 64)
    assert np.array_equal(data.images[3], np.asarray(image.resize((96, 64), Image.Resampling.LANCZOS)))
    nearest = np.asarray(mask.resize((96, 64), Image.Resampling.NEAREST))
    assert np.array_equal(unpack(data.labels[3])[1], nearest)


def test_labels_are_packed_without_loss():
    scribble, mask = np.array([[255, 1, 0]], np.uint8), np.array([[1, 1, 0]], np.uint8)
    packed = pack(scribble, mask)
    assert [part.tolist() for part in unpack(packed)] == [[[0, 2, 1]], [[1, 1, 0]]]
    assert np.array_equal(repack(*unpack(packed)), packed)
    assert pack(np.array([[255]], np.uint8), np.array([[0]], np.uint8)).item() == 0


def test_statistics_are_those_of_the_chosen_images(small_data):
    chosen = np.array([1, 4, 7])
    mean, std = small_data.statistics(chosen)
    pixels = np.asarray(small_data.images[chosen], np.float64).reshape(-1, 3)
    assert mean == pytest.approx(pixels.mean(0)) and std == pytest.approx(pixels.std(0))


def test_shares_are_those_of_the_original_masks(small_folder, small_data):
    masks = [read_mask(small_folder / "train/ground_truth" / f"{stem}.png") for stem in small_data.stems]
    assert list(small_data.foreground_shares.values()) == pytest.approx([mask.mean() for mask in masks])


def test_a_second_opening_decodes_nothing_and_maps_the_files(folder, tmp_path, monkeypatch):
    first = open_data(folder, cache=tmp_path / "cache")
    monkeypatch.setattr(cache_module, "_decode", None)
    second = open_data(folder, cache=tmp_path / "cache")
    assert isinstance(second.images, np.memmap) and not second.images.flags.writeable
    assert np.array_equal(first.images, second.images) and np.array_equal(first.labels, second.labels)


def test_another_size_or_other_data_is_another_entry(folder, tmp_path):
    first = open_data(folder, cache=tmp_path / "cache")
    assert open_data(folder, (32, 32), cache=tmp_path / "cache").images.shape[1:3] == (32, 32)
    path = next((folder / "train/images").iterdir())
    Image.fromarray(255 - read_image(path)).save(path)
    assert not np.array_equal(open_data(folder, cache=tmp_path / "cache").images, first.images)
    assert len(list((tmp_path / "cache").glob("v*"))) == 3


def _flip_a_bit(path):
    with path.open("r+b") as file:
        file.seek(-1000, 2)
        byte = file.read(1)[0]
        file.seek(-1000, 2)
        file.write(bytes([byte ^ 4]))


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: (entry / "images.npy").write_bytes((entry / "images.npy").read_bytes()[:-100]),
        lambda entry: _flip_a_bit(entry / "images.npy"),
        lambda entry: _flip_a_bit(entry / "labels.npy"),
        lambda entry: (entry / "labels.npy").unlink(),
        lambda entry: (entry / "meta.json").write_text("{"),
        lambda entry: (entry / "meta.json").write_text(json.dumps({"hash": "other"})),
    ],
    ids=["cut short", "bit in images", "bit in labels", "file gone", "torn meta", "foreign meta"],
)
def test_a_damaged_entry_is_rebuilt(folder, tmp_path, damage):
    whole = np.array(open_data(folder, cache=tmp_path / "cache").images)
    (entry,) = (tmp_path / "cache").glob("v*")
    damage(entry)
    assert np.array_equal(open_data(folder, cache=tmp_path / "cache").images, whole)


def _open_in_a_process(folder, cache, results):
    data = open_data(folder, cache=cache)
    results.put((data.images.shape, int(data.images.sum(dtype=np.int64))))


def test_ten_processes_may_build_at_once_and_leave_one_entry(folder, tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [
        context.Process(target=_open_in_a_process, args=(folder, tmp_path / "cache", results)) for _ in range(10)
    ]
    for process in processes:
        process.start()
    seen = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert len(seen) == 1 and all(process.exitcode == 0 for process in processes)
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 1


def test_what_is_sent_to_another_process_are_names_not_pixels(small_data):
    sent = pickle.dumps(small_data)
    assert len(sent) < small_data.images.nbytes / 10
    assert np.array_equal(pickle.loads(sent).images, small_data.images)


def test_a_mask_of_another_size_is_an_error_that_names_it(folder, tmp_path):
    path = sorted((folder / "train/ground_truth").iterdir())[2]
    Image.fromarray(np.zeros((10, 20), np.uint8)).save(path)
    with pytest.raises(UserError, match=rf"{path.name}: is 20x10, its image .* is 96x80"):
        open_data(folder, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("v*"))


def test_a_disk_without_room_is_an_error_before_anything_is_written(folder, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: usage(1000, 900, 100))
    with pytest.raises(UserError, match=r"the cache needs \d MB|the cache needs 0 MB"):
        open_data(folder, cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_an_error_that_names_it(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/cache: the cache of decoded images cannot be written"):
        open_data(folder, cache=tmp_path / "file" / "cache")


def test_images_of_mixed_sizes_and_kinds_are_brought_to_one_size(tmp_path):
    rng = np.random.default_rng(0)
    for stem, (width, height), ending in (("a", (100, 70), "png"), ("b", (70, 100), "jpg"), ("c", (100, 70), "png")):
        for part, values in (
            ("images", rng.integers(0, 255, (height, width)).astype(np.uint8)),
            ("scribbles", rng.choice(np.array([0, 1, 255], np.uint8), (height, width))),
            ("ground_truth", rng.choice(np.array([0, 255], np.uint8), (height, width))),
        ):
            path = tmp_path / "data/train" / part / f"{stem}.{ending if part == 'images' else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
    data = open_data(tmp_path / "data", cache=tmp_path / "cache")
    assert data.size == (96, 64) and data.images.shape == (3, 64, 96, 3)
