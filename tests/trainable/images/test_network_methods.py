"""What pixel-wise networks, CNNs and U-Nets do with the images that they are given."""

import numpy as np
import pytest
import torch

from trainable.config.images.small_network_fields import SmallNetworkFields
from trainable.data.dataset import UNLABELLED
from trainable.images.method import ScribbledImage
from trainable.images.methods.cnn import cnn
from trainable.images.methods.pixelwise import pixelwise
from trainable.images.methods.unet import WINDOW, SmallUNet, unet, windows
from trainable.images.small_networks import network_method
from trainable.images.small_networks.network_loss import impossible_logits

METHODS = {"pixelwise": pixelwise, "cnn": cnn, "unet": unet}
CPU = torch.device("cpu")
COLOURS = np.array([(200, 40, 40), (40, 60, 200), (60, 180, 60)])


class Settings(SmallNetworkFields):
    inputs: str = "colour"


def segment(name, images, classes=2, **settings):
    fast = {"width": 8, "iterations": 40, "learning_rate": 0.03, "downscalings": 1}
    return METHODS[name](Settings(**{**fast, **settings})).segment(images, classes, CPU)


def striped(height=40, width=48, classes=2, seed=0, channels=3):
    """Upright stripes of a colour and class each, with a scribble across all of them; and their true classes."""
    truth = np.broadcast_to(np.arange(width) * classes // width, (height, width))
    rng = np.random.default_rng(seed)
    pixels = np.clip(COLOURS[truth] + rng.normal(0, 15, (height, width, 3)), 0, 255).astype(np.uint8)
    scribble = np.full((height, width), UNLABELLED, np.uint8)
    scribble[height // 2 : height // 2 + 2] = truth[0]
    return ScribbledImage(pixels[..., :channels], scribble, None, seed), truth


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("classes", [2, 3])
def test_every_method_learns_colours(name, classes):
    image, truth = striped(classes=classes)
    (probabilities,) = segment(name, [image], classes)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
    assert (probabilities.argmax(0) == truth).mean() > 0.95


@pytest.mark.parametrize("name", METHODS)
def test_coordinates_tell_apart_what_has_the_same_colour(name):
    image, truth = striped()
    grey = ScribbledImage(np.full_like(image.image, 90), image.scribble, None, 0)
    blind, seeing = (
        segment(name, [grey], inputs=inputs, iterations=80)[0].argmax(0) for inputs in ("colour", "colour+xy")
    )
    assert (seeing == truth).mean() > 0.9 > 0.7 > (blind == truth).mean()


@pytest.mark.parametrize("name", METHODS)
def test_beta_reduces_the_influence_of_the_position_and_leaves_that_of_colours(name):
    image, truth = striped()
    grey = ScribbledImage(np.full_like(image.image, 90), image.scribble, None, 0)

    def contrast(beta):
        """How far probabilities differ between the two halves of an image of one colour."""
        (probabilities,) = segment(name, [grey], inputs="colour+xy", iterations=80, beta=beta)
        return probabilities[0, :, :24].mean() - probabilities[0, :, 24:].mean()

    assert contrast(0) > 0.7 and contrast(3e7) < 0.3
    (probabilities,) = segment(name, [image], inputs="colour+xy", iterations=80, beta=3e7)
    assert (probabilities.argmax(0) == truth).mean() > 0.95


@pytest.mark.parametrize("name", METHODS)
def test_images_of_any_size_are_segmented_at_once_as_they_are_alone(name):
    images = [striped(40, 48, 2, 1)[0], striped(71, 33, 3, 2)[0], striped(9, 100, 2, 3)[0], striped(30, 30, 2, 4, 1)[0]]
    together = segment(name, images, 3, iterations=8)  # more would magnify differences of rounding
    for image, probabilities in zip(images, together, strict=True):
        assert probabilities.shape == (3, *image.scribble.shape)
        np.testing.assert_allclose(probabilities, segment(name, [image], 3, iterations=8)[0], atol=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_the_same_call_gives_the_same_bytes_and_each_seed_others(name):
    images = [striped(seed=1)[0], striped(50, 40, seed=2)[0]]
    torch.manual_seed(7)
    first = segment(name, images, inputs="colour+xy", beta=1e6, iterations=5)
    torch.manual_seed(8)
    state = torch.random.get_rng_state()
    second = segment(name, images, inputs="colour+xy", beta=1e6, iterations=5)
    assert [each.tobytes() for each in first] == [each.tobytes() for each in second]
    assert torch.equal(state, torch.random.get_rng_state())
    other = ScribbledImage(images[0].image, images[0].scribble, None, 99)
    assert (segment(name, [other], inputs="colour+xy", beta=1e6, iterations=5)[0] != first[0]).any()


@pytest.mark.parametrize("name", METHODS)
def test_images_that_lack_scribbles_have_defined_probabilities(name):
    image, _ = striped(classes=2)
    nothing, one, point = (np.full_like(image.scribble, UNLABELLED) for _ in range(3))
    one[3, 3] = 1
    point[3, 3], point[20, 40] = 2, 0  # a pixel of each of two classes
    images = [ScribbledImage(image.image, scribble, None, 0) for scribble in (nothing, one, point, image.scribble)]
    none, single, two, usual = segment(name, images, 3)
    assert (none == np.float32(1 / 3)).all() and (none.argmax(0) == 0).all()
    assert (single[1] == 1).all() and not single[[0, 2]].any()
    assert not two[1].any() and np.isfinite(two).all() and two.argmax(0)[3, 3] == 2 and two.argmax(0)[20, 40] == 0
    assert not usual[2].any() and (usual[:2] > 0).any(axis=(1, 2)).all()


@pytest.mark.parametrize("name", METHODS)
def test_features_are_an_input(name):
    image, truth = striped()
    features = np.stack([truth, 1 - truth], -1).astype(np.float32)
    blind = ScribbledImage(np.zeros_like(image.image), image.scribble, features, 0)
    (probabilities,) = segment(name, [blind], inputs="colour+features")
    assert (probabilities.argmax(0) == truth).mean() > 0.95


@pytest.mark.parametrize("name", METHODS)
def test_tiles_add_up_to_the_prediction_of_the_whole_image(name, monkeypatch):
    image, _ = striped(90, 70)
    settings = {"inputs": "colour+xy", "downscalings": 2, "iterations": 3}
    (whole,) = segment(name, [image], **settings)
    monkeypatch.setattr(network_method, "TILE", 32)
    (tiled,) = segment(name, [image], **settings)
    np.testing.assert_allclose(tiled, whole, atol=1e-6)


def test_a_u_net_takes_images_smaller_than_its_stride():
    assert SmallUNet(3, 2, 4, 4)(torch.zeros(1, 3, 5, 21)).shape == (1, 2, 5, 21)


def test_a_kernel_is_odd_and_beta_penalises_an_input():
    with pytest.raises(ValueError, match="must be odd; here it is 4"):
        Settings(kernel=4)
    assert Settings(beta=1).network_problems("colour") and Settings(beta=1).network_problems("colour+features")
    assert not Settings(beta=1).network_problems("colour+xy") and not Settings().network_problems("colour")
    assert not Settings(beta=1, penalised="colour").network_problems("colour+features")


def test_nothing_is_learnt_about_a_class_without_a_scribble():
    image, _ = striped(classes=2)  # of three
    logits = torch.zeros(1, 3, 5, requires_grad=True)
    loss = (logits + impossible_logits([image], 3)).log_softmax(1)[:, :2].sum()
    (slope,) = torch.autograd.grad(loss, logits)
    assert not slope[:, 2].any() and loss.item() == pytest.approx(-10 * np.log(2), rel=1e-5)


def test_windows_have_a_scribbled_pixel_in_their_middle():
    """Away from the borders of the image, so that it is seen with all that the network can see around it."""
    scribble = np.full((3 * WINDOW, 4 * WINDOW), UNLABELLED, np.uint8)
    scribble[WINDOW, WINDOW], scribble[2 * WINDOW, 3 * WINDOW] = 0, 1
    image = ScribbledImage(np.zeros((*scribble.shape, 3), np.uint8), scribble, None, 0)
    stream = windows(image, Settings())
    for _ in range(2):
        _, labels = next(stream)
        for label, own in enumerate(labels.numpy()):
            assert np.argwhere(own == label).tolist() == [[WINDOW // 2, WINDOW // 2]] and (own != UNLABELLED).sum() == 1


def test_a_u_net_fits_scribbles_that_no_window_shows_together():
    rng = np.random.default_rng(0)
    truth = np.broadcast_to(np.arange(400) >= 200, (300, 400)).astype(np.uint8)
    shades = np.array([(90, 110, 90), (110, 100, 90)])[truth] + rng.normal(0, 20, (300, 400, 3))
    shades += 0.2 * np.arange(-150, 150)[:, None, None]
    scribble = np.full(truth.shape, UNLABELLED, np.uint8)
    scribble[40:260, 60:63], scribble[140:143, 300:380] = 0, 1
    image = ScribbledImage(shades.clip(0, 255).astype(np.uint8), scribble, None, 0)
    settings = Settings(downscalings=2, width=8, iterations=40)
    found = unet(settings).segment([image], 2, CPU)[0].argmax(0)
    assert all((found[scribble == label] == label).mean() > 0.9 for label in (0, 1))
