"""What every registered network does; a new one is tested by being registered. ONNX is tested with the exports."""

import io

import pandas as pd
import pytest
import torch
from tiny_networks import tiny_network

from trainable.data.decoded_images import open_data
from trainable.data.packed_labels import unpack
from trainable.errors import UserError
from trainable.networks.registry import ARCHITECTURES, build_network
from trainable.networks.scribble_network import channels_of
from trainable.training import checkpoint
from trainable.training.fold import train_fold
from trainable.training.trial import FoldTrial

pytestmark = [pytest.mark.usefixtures("narrow_decoders"), pytest.mark.parametrize("architecture", ARCHITECTURES)]

# Height and width, channels of the image, inputs, classes: 1, 2, 3 and 4 channels for the core, and 7 of four classes.
SEEN = [
    ((64, 96), 1, "image", 2),
    ((50, 75), 1, "image+scribble", 2),
    ((50, 75), 3, "image", 4),
    ((64, 96), 3, "image+scribble", 2),
    ((41, 64), 3, "image+scribble", 4),
]
SIZE = (50, 40)  # of the fold loop: width and height, no multiples of any stride


def make(architecture, channels=3, classes=2, seed=0, **values):
    config = tiny_network(architecture, **values)
    return build_network(config, [100.0] * channels, [50.0] * channels, seed, classes)


def batch(size, channels, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (2, *size, channels), dtype=torch.uint8, generator=generator)
    mask = torch.randint(0, classes, (2, *size), dtype=torch.uint8, generator=generator)
    scribble = torch.randint(0, classes + 1, (2, *size), dtype=torch.uint8, generator=generator)
    return images, mask | scribble << 4


@pytest.fixture(scope="module")
def odd_data(small_folder, small_cache):
    return open_data(small_folder, SIZE, cache=small_cache)


@pytest.mark.parametrize(("size", "channels", "inputs", "classes"), SEEN, ids=str)
def test_it_gives_logits_of_any_size_and_a_gradient_to_every_parameter(architecture, size, channels, inputs, classes):
    if (architecture, inputs) == ("sam", "image"):
        with pytest.raises(UserError, match=r"^inputs = image: does not go with architecture = sam: .* scribbles$"):
            make(architecture, channels, classes, inputs=inputs)
        return
    network = make(architecture, channels, classes, inputs=inputs)
    images, labels = batch(size, channels, classes)
    scribble, mask = unpack(labels)
    assert int(mask.max()) == classes - 1 and int(scribble.max()) == classes
    own = ARCHITECTURES[architecture].loss
    if own is None:
        logits = network(images, scribble)
        assert logits.shape == (2, channels_of(inputs, channels, classes).outputs, *size)
        loss = logits.square().mean()
    else:
        loss = own(network, images, labels)
    loss.backward()
    parameters = dict(network.named_parameters())
    assert [name for name in parameters if parameters[name].requires_grad != (parameters[name].grad is not None)] == []
    assert all(parameter.grad.isfinite().all() for parameter in parameters.values() if parameter.requires_grad)
    assert any(parameter.requires_grad for parameter in parameters.values())
    with torch.inference_mode():
        predicted = network.eval()(images, scribble)
    assert predicted.shape == (2, 1 if classes == 2 else classes, *size) and predicted.isfinite().all()


def test_its_encoder_returns_feature_maps_from_fine_to_coarse(architecture):
    if architecture == "sam":  # its image encoder has one size of feature map, and weights of its own
        assert not hasattr(make(architecture).core, "encoder")
        return
    encoder = make(architecture).core.encoder
    features = encoder(torch.rand(2, 4, 64, 96))
    assert [each.shape[1] for each in features] == list(encoder.out_channels) and len(features) > 1
    areas = [each.shape[2] * each.shape[3] for each in features]
    assert areas == sorted(areas, reverse=True) and areas[-1] < areas[0]
    features[-1].sum().backward()
    assert any(parameter.grad is not None for parameter in encoder.parameters())


def test_its_initial_weights_depend_on_the_seed_alone(architecture):
    one = make(architecture, seed=1).state_dict()
    torch.rand(3)
    same, other = make(architecture, seed=1).state_dict(), make(architecture, seed=2).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_it_predicts_the_same_after_being_saved_and_loaded(architecture):
    network = make(architecture, classes=4)
    images, labels = batch((50, 75), 3, 4)
    if ARCHITECTURES[architecture].loss is None:
        network.train()(images, unpack(labels)[0])  # moves what batch norm remembers
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    loaded = checkpoint.empty_network(tiny_network(architecture), classes=list("abcd"))
    loaded.load_state_dict(torch.load(file, weights_only=True))
    with torch.inference_mode():
        expected, found = (each.eval()(images, unpack(labels)[0]) for each in (network, loaded))
    assert torch.equal(found, expected)


def test_dropout_is_that_of_the_config(architecture):
    images, labels = batch((64, 64), 3, 2)
    for dropout, same in ((0.0, True), (0.5, False)):
        network, found = make(architecture, dropout=dropout).train(), []
        for seed in range(2):
            torch.manual_seed(seed)
            found.append(network(images, unpack(labels)[0]))
        assert torch.equal(*found) == same


def test_a_step_does_not_wait_for_its_device(architecture, odd_data, small_folds):
    """On torch's meta device, reading a value is an error."""
    if ARCHITECTURES[architecture].waits:
        with pytest.raises(UserError, match=r"acceleration = graph: .* wait for the device"):
            tiny_network(architecture, acceleration="graph")
        return
    config = tiny_network(architecture, size=SIZE)
    trial = FoldTrial(config, odd_data, small_folds, 0, torch.device("meta"))
    for group in trial.optimizer.param_groups:
        group.update(fused=False, foreach=True)  # the fused kernel needs a device that can calculate
    for step in range(2):
        trial.train_step(*trial.stream[step])
    assert [loss.device.type for loss in trial._losses] == ["meta", "meta"]


def test_a_fold_that_was_interrupted_ends_bit_identically(architecture, odd_data, small_folds, tmp_path):
    config = tiny_network(architecture, size=SIZE, dropout=0.5, ema=0.9)
    for name, pauses in (("undisturbed", (4,)), ("interrupted", (1, 3, 4))):
        for until in pauses:
            list(train_fold(config, odd_data, small_folds, 0, tmp_path / name, until=until, device="cpu", workers=0))
    expected, found = (checkpoint.load(tmp_path / name / "last.pt") for name in ("undisturbed", "interrupted"))
    assert found["step"] == 4 and found["weights"].keys() == expected["weights"].keys()
    for name, tensor in expected["weights"].items():
        assert torch.equal(found["weights"][name], tensor), name
    pd.testing.assert_frame_equal(
        *(pd.read_parquet(tmp_path / name / "images.parquet") for name in ("undisturbed", "interrupted"))
    )
