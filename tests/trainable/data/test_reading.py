import numpy as np
import pytest
from PIL import Image

from trainable.data.dataset import BadFile, Unreadable
from trainable.data.reading import read_image, read_mask, read_scribble


def write(path, values, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8), mode).save(path)
    return path


def test_scribbles_of_one_channel_and_of_three_equal_ones_are_the_same(tmp_path):
    values = np.array([[0, 1], [255, 255]])
    grey = write(tmp_path / "grey.png", values)
    colour = write(tmp_path / "rgb.png", np.repeat(values[..., None], 3, 2))
    assert read_scribble(grey).tolist() == read_scribble(colour).tolist() == values.tolist()


def test_masks_may_be_grey_palette_binary_or_drawn_with_255(tmp_path):
    values = np.array([[0, 1], [1, 0]], np.uint8)
    palette = Image.fromarray(values, "P")
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.save(tmp_path / "palette.png")
    Image.fromarray(values * 255).convert("1").save(tmp_path / "binary.png")
    files = [write(tmp_path / "grey.png", values), write(tmp_path / "white.png", values * 255)]
    for path in [*files, tmp_path / "palette.png", tmp_path / "binary.png"]:
        assert read_mask(path).tolist() == values.tolist(), path


def test_grey_images_are_read_as_rgb(tmp_path):
    assert read_image(write(tmp_path / "grey.png", np.full((3, 4), 7))).tolist() == np.full((3, 4, 3), 7).tolist()


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_grey_images_of_more_than_8_bits_keep_what_they_show(tmp_path, bits):
    shown = np.tile(np.linspace(0, 1, 100), (20, 1))
    Image.fromarray((shown * (2**bits - 1)).astype(np.uint16)).save(tmp_path / "deep.png")
    read = read_image(tmp_path / "deep.png")
    assert read.shape == (20, 100, 3)
    assert np.abs(read[..., 0] - 255 * shown).max() <= 2


def test_a_hot_pixel_does_not_make_an_image_dark_and_one_of_one_grey_is_black(tmp_path):
    values = np.tile(np.arange(1000, 1100, dtype=np.uint16), (20, 1))
    values[0, 0] = 65535
    Image.fromarray(values).save(tmp_path / "hot.png")
    assert read_image(tmp_path / "hot.png")[10].mean() == pytest.approx(127.5, abs=2)
    Image.fromarray(np.full((4, 4), 3000, np.uint16)).save(tmp_path / "even.png")
    assert not read_image(tmp_path / "even.png").any()


@pytest.mark.parametrize(
    ("values", "reader", "message"),
    [
        (np.array([[0, 2], [128, 1]]), read_mask, r"contains the labels 2, 128; allowed are 0 and 1"),
        (np.array([[0, 7]]), read_scribble, r"labels 7; allowed are 0 background, 1 foreground, 255 unlabelled"),
        (np.array([[[0, 1, 0]]]), read_scribble, "different channels"),
    ],
)
def test_labels_that_are_not_allowed_are_named(tmp_path, values, reader, message):
    with pytest.raises(BadFile, match=message):
        reader(write(tmp_path / "bad.png", values))


def test_a_truncated_file_is_unreadable(tmp_path):
    path = write(tmp_path / "cut.jpg", np.random.default_rng(0).integers(0, 255, (64, 64, 3)))
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(Unreadable, match=r"cut\.jpg: cannot be read"):
        read_image(path)


def test_labels_stored_as_jpeg_are_explained(tmp_path):
    path = write(tmp_path / "mask.jpg", np.kron(np.eye(8), np.full((5, 5), 255)))
    with pytest.raises(BadFile, match="JPEG changes pixel values, save labels as PNG"):
        read_mask(path)
