"""Data sets of several classes, of grey images, with ignored pixels and with missing masks or scribbles."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL_SIZE
from PIL import Image

from trainable.data import decoded_images as cache_module
from trainable.data.dataset import IGNORED, BadFile, open_split
from trainable.data.decoded_images import open_data
from trainable.data.labelled import label_facts
from trainable.data.packed_labels import unpack
from trainable.data.reading import is_grey, read_image, read_mask, read_scribble
from trainable.data.task import Task, read_task
from trainable.errors import UserError

TASK = Task(("background", "ring", "core", "crescent"), declared=True)
IGNORING = Task(TASK.classes, ignore=True, declared=True)


@pytest.fixture
def folder(class_folder, tmp_path):
    return shutil.copytree(class_folder, tmp_path / "data")


@pytest.fixture
def decode(folder, tmp_path):
    return lambda *size: open_data(folder, *size, cache=tmp_path / "cache")


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)
    return path


def files(folder, part):
    return sorted((folder / "train" / part).iterdir())


def nearest(pixels, size=SMALL_SIZE):
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST))


def test_masks_and_scribbles_of_every_class_are_read(class_folder, class_data):
    seen = [set(), set()]
    for index, stem in enumerate(class_data.stems):
        scribble, mask = unpack(class_data.labels[index])
        assert np.array_equal(mask, nearest(np.asarray(Image.open(class_folder / f"train/ground_truth/{stem}.png"))))
        drawn = nearest(np.asarray(Image.open(class_folder / f"train/scribbles/{stem}.png")))
        assert np.array_equal(scribble, np.where(drawn == 255, 0, drawn + 1))
        seen[0] |= set(scribble.flat)
        seen[1] |= set(mask.flat)
    assert seen == [{0, 1, 2, 3, 4}, {0, 1, 2, 3}]


def test_shares_are_those_of_each_class_in_the_original_masks(class_folder, class_data):
    masks = [read_mask(path, TASK) for path in files(class_folder, "ground_truth")]
    expected = np.array([[(mask == label).mean() for label in range(4)] for mask in masks])
    assert class_data.shares == pytest.approx(expected)
    assert np.array(list(class_data.class_shares.values())) == pytest.approx(expected[:, 1:])
    assert list(class_data.foreground_shares.values()) == pytest.approx(expected[:, 1:].sum(axis=1))


@pytest.mark.parametrize("reader", [read_mask, read_scribble])
def test_a_label_beyond_the_list_of_classes_is_an_error_that_lists_them(tmp_path, reader):
    path = write(tmp_path / "labels.png", [[0, 3], [4, 7]])
    with pytest.raises(BadFile, match=r"labels 4, 7; allowed are 0 background, 1 ring, 2 core, 3 crescent"):
        reader(path, TASK)


def test_255_in_a_mask_is_ignored_if_the_data_set_says_so_and_refused_otherwise(tmp_path):
    path = write(tmp_path / "mask.png", [[0, 3, 255]])
    assert read_mask(path, IGNORING).tolist() == [[0, 3, IGNORED]]
    with pytest.raises(BadFile, match=r"labels 255; .*ignore_label: 255 in dataset\.yaml ignores 255"):
        read_mask(path, TASK)


@pytest.mark.parametrize(("label", "hint"), [(2, True), (14, True), (15, False), (80, False)])
def test_more_labels_than_two_suggest_to_declare_classes(tmp_path, label, hint):
    path = write(tmp_path / "mask.png", [[0, label]])
    with pytest.raises(BadFile, match=f"labels {label}; ") as error:
        read_mask(path)
    assert str(error.value).endswith("; list more classes in dataset.yaml beside the splits") == hint


def test_255_in_a_mask_of_two_classes_is_foreground_unless_it_is_ignored(tmp_path):
    path = write(tmp_path / "mask.png", [[0, 255]])
    assert read_mask(path, Task(declared=True)).tolist() == [[0, 1]]
    assert read_mask(path, Task(ignore=True, declared=True)).tolist() == [[0, IGNORED]]
    both = write(tmp_path / "both.png", [[0, 1, 255]])
    assert read_mask(both, Task(ignore=True, declared=True)).tolist() == [[0, 1, IGNORED]]


def test_fifteen_classes_and_ignored_pixels_do_not_share_a_value(tmp_path):
    task = Task(tuple(f"c{k}" for k in range(15)), ignore=True, declared=True)
    path = write(tmp_path / "mask.png", [[*range(15), 255]])
    assert read_mask(path, task).tolist() == [[*range(15), IGNORED]]
    assert read_scribble(path, task).tolist() == [[*range(15), 255]]


def test_ignored_pixels_are_read_and_take_no_share(folder, decode):
    (folder / "dataset.yaml").write_text((folder / "dataset.yaml").read_text() + "ignore_label: 255\n")
    path = files(folder, "ground_truth")[0]
    mask = np.array(Image.open(path))
    mask[:30] = 255
    write(path, mask)
    data = decode(SMALL_SIZE)
    assert np.array_equal(unpack(data.labels[0])[1], nearest(np.where(mask == 255, np.uint8(IGNORED), mask)))
    assert data.shares[0] == pytest.approx([(mask[30:] == label).mean() for label in range(4)])
    assert data.ignoring and data.masked.all()


def test_an_image_without_a_mask_is_ignored_everywhere(folder, decode):
    files(folder, "ground_truth")[5].unlink()
    data = decode()
    assert data.masked.tolist() == [k != 5 for k in range(24)] and data.scribbled.all()
    assert (unpack(data.labels[5])[1] == IGNORED).all() and unpack(data.labels[5])[0].any()
    assert not data.shares[5].any() and data.ignoring and data.scored_on == "masks"


def test_an_image_without_scribbles_is_unlabelled_everywhere(folder, decode):
    files(folder, "scribbles")[7].unlink()
    data = decode()
    assert data.scribbled.tolist() == [k != 7 for k in range(24)] and data.masked.all()
    assert not unpack(data.labels[7])[0].any() and unpack(data.labels[7])[1].any()
    assert not data.ignoring


def test_without_any_mask_shares_and_scores_are_those_of_scribbled_pixels(folder, decode):
    shutil.rmtree(folder / "train/ground_truth")
    data = decode()
    scribble = np.asarray(Image.open(files(folder, "scribbles")[0]))
    assert not data.masked.any() and data.scored_on == "scribbles"
    assert data.shares[0] == pytest.approx([(scribble[scribble != 255] == label).mean() for label in range(4)])
    assert label_facts(data) == {"classes": list(TASK.classes), "volumes": True, "scored_on": "scribbles"}


def test_a_data_set_without_masks_and_scribbles_is_refused(folder, decode):
    shutil.rmtree(folder / "train/ground_truth")
    shutil.rmtree(folder / "train/scribbles")
    with pytest.raises(UserError, match="has neither masks nor scribbles"):
        decode()


def test_a_mask_without_an_image_is_refused_with_a_suggestion(folder):
    write(folder / "train/ground_truth/volume00_00.png", np.zeros((80, 96)))
    with pytest.raises(UserError, match=r"volume00_00\.png: has no partner volume00_00\.\* in images.*Did you mean"):
        open_split(folder)


def test_grey_images_of_a_declared_data_set_have_one_channel(class_folder, class_data):
    assert class_data.images.shape == (24, 32, 64, 1) and class_data.channels == 1
    image = Image.open(files(class_folder, "images")[3])
    assert image.mode == "L"
    assert np.array_equal(class_data.images[3, ..., 0], image.resize(SMALL_SIZE, Image.Resampling.LANCZOS))
    mean, std = class_data.statistics(np.arange(6))
    assert len(mean) == len(std) == 1
    assert mean[0] == pytest.approx(class_data.images[:6].mean()) and std[0] == pytest.approx(
        class_data.images[:6].std()
    )


def test_one_coloured_image_gives_all_of_them_three_channels(folder, decode):
    path = files(folder, "images")[2]
    colour = read_image(path).copy()
    assert is_grey(path)
    colour[0, 0] = (1, 2, 3)
    write(path, colour)
    assert not is_grey(path)
    data = decode()
    assert data.images.shape == (24, 64, 96, 3) and len(data.statistics(np.arange(3))[0]) == 3


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.full((4, 5), 7, np.uint8)),
        Image.fromarray(np.full((4, 5, 3), 7, np.uint8)),
        Image.fromarray(np.arange(20, dtype=np.uint16).reshape(4, 5)),
        Image.new("1", (5, 4)),
        Image.new("LA", (5, 4)),
    ],
    ids=lambda image: image.mode,
)
def test_images_are_grey_by_mode_or_by_equal_channels(tmp_path, image):
    image.save(tmp_path / "image.png")
    assert is_grey(tmp_path / "image.png")
    assert read_image(tmp_path / "image.png", "L").shape == (4, 5)


def test_grey_images_without_a_dataset_yaml_have_three_channels(folder, decode):
    (folder / "dataset.yaml").unlink()
    for part in ("ground_truth", "scribbles"):
        for path in files(folder, part):
            labels = np.asarray(Image.open(path))
            write(path, np.where(labels == 255, labels, np.minimum(labels, 1)))
    data = decode()
    assert data.images.shape == (24, 64, 96, 3) and len(data.statistics(np.arange(3))[0]) == 3
    assert data.volumes is None and label_facts(data) == {}


def test_other_classes_or_volumes_are_other_data(folder):
    def digest(text, volumes=None):
        (folder / "dataset.yaml").write_text(text)
        if volumes is not None:
            (folder / "train/volumes.csv").write_text(volumes)
        return open_split(folder).hash

    one = digest("classes: [background, ring, core, crescent]\n")
    assert digest("# with a comment\nclasses: [background, ring, core, 'crescent']\n") == one
    hashes = {
        one,
        digest("classes: [background, core, ring, crescent]\n"),
        digest("classes: [background, ring, core, crescent, husk]\n"),
        digest("classes: [background, ring, core, crescent]\nignore_label: 255\n"),
        digest("classes: [background, ring, core, crescent]\n", "stem,volume,slice\n"),
    }
    assert len(hashes) == 5


def test_a_declaration_of_the_two_usual_classes_is_seen_in_the_facts(folder):
    assert read_task(folder).classes == TASK.classes
    (folder / "dataset.yaml").unlink()
    assert open_split(folder).volumes_file is None, "without a declaration there are no volumes"


def test_every_slice_has_its_volume_and_other_images_are_their_own(folder, decode):
    path = folder / "train/volumes.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    volumes = decode().volumes
    assert volumes["volume000_02"] == "volume000" and volumes["volume005_02"] == "volume005"
    assert volumes["volume005_03"] == "volume005_03"


def test_mistakes_in_volumes_are_reported(folder, decode):
    (folder / "train/volumes.csv").write_text("stem,volume,slice\nvolume000_0,a,0\n")
    with pytest.raises(UserError, match=r"volumes\.csv, line 2: no image has the stem 'volume000_0'. Did you mean"):
        _ = decode().volumes


def test_another_process_reopens_the_entry_from_its_pickle(class_data, tmp_path):
    (tmp_path / "data").write_bytes(pickle.dumps(class_data))
    program = (
        f"import pickle; data = pickle.load(open({str(tmp_path / 'data')!r}, 'rb')); "
        "print(int(data.images.sum()), int(data.labels.sum()), data.volumes['volume003_01'], *data.task.classes, "
        "data.masked.sum(), data.channels)"
    )
    here = Path(cache_module.__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", program], cwd=here, capture_output=True, text=True, check=True)
    images, labels = (int(array.sum()) for array in (class_data.images, class_data.labels))
    assert found.stdout.split() == [f"{images}", f"{labels}", "volume003", *TASK.classes, "24", "1"]


def test_a_second_opening_decodes_nothing(folder, decode, monkeypatch):
    files(folder, "ground_truth")[5].unlink()
    first = decode()
    monkeypatch.setattr(cache_module, "_decode", None)
    second = decode()
    for name in ("images", "labels", "shares", "channel_sums", "masked", "scribbled"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
