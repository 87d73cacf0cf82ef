"""Weights of encoders from files: what is read, what fits, and what is refused."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from tiny_networks import tiny_network

from trainable.errors import UserError
from trainable.networks.registry import build_network
from trainable.networks.weights_file import file_of, load_encoder, read_weights
from trainable.storage.shared_file import open_shared

NETWORKS = ("unet", "resunet", "mask-rcnn")  # with an encoder by name, two convolutions of the input, an encoder alone


def network_of(architecture, seed, **values):
    return build_network(tiny_network(architecture, **values), [100.0] * 3, [50.0] * 3, seed)


def write_safetensors(network, path):
    save_file({name: each.contiguous() for name, each in network.core.encoder.state_dict().items()}, path)


def write_state_dict(network, path):
    torch.save(network.core.encoder.state_dict(), path)


def write_core(network, path):
    torch.save(network.core.state_dict(), path)


def write_network(network, path):
    torch.save(network.state_dict(), path)


@pytest.mark.parametrize("architecture", NETWORKS)
@pytest.mark.parametrize("write", [write_safetensors, write_state_dict, write_core, write_network])
def test_an_encoder_starts_from_a_file_in_each_form(architecture, write, tmp_path):
    theirs, ours = network_of(architecture, 1), network_of(architecture, 2, encoder_weights="weights")
    theirs.core.encoder.get_buffer(next(n for n, _ in theirs.core.encoder.named_buffers())).add_(3)
    decoder = {name: each.clone() for name, each in ours.state_dict().items() if ".encoder." not in name}
    write(theirs, tmp_path / "weights")
    load_encoder(ours.core.encoder, read_weights(open_shared(str(tmp_path / "weights"))), "file")
    for name, tensor in theirs.core.encoder.state_dict().items():
        assert torch.equal(ours.core.encoder.state_dict()[name], tensor), name
    assert all(torch.equal(ours.state_dict()[name], tensor) for name, tensor in decoder.items())


@pytest.mark.parametrize("architecture", NETWORKS)
def test_convolutions_of_rgb_get_zeros_for_the_scribble(architecture):
    rgb, ours = network_of(architecture, 1, inputs="image"), network_of(architecture, 2)
    load_encoder(ours.core.encoder, rgb.core.encoder.state_dict(), "file")
    images, strokes = torch.rand(1, 3, 64, 64), torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        expected = rgb.eval().core.encoder(images)
        found = ours.eval().core.encoder(torch.cat([images, strokes], 1))
    for one, other in zip(expected[1:], found[1:], strict=True):  # smp's first map is the input itself
        torch.testing.assert_close(one, other)


def test_only_convolutions_of_the_input_may_lack_channels():
    ours = network_of("resunet", 2).core.encoder
    weights = ours.state_dict()
    weights["blocks.2.projection.0.weight"] = weights["blocks.2.projection.0.weight"][:, :3]
    with pytest.raises(UserError, match=r"of another shape: blocks.2.projection.0.weight \(16x3x1x1, not 16x8x1x1\)$"):
        load_encoder(ours, weights, "file")
    with pytest.raises(UserError, match=r"of another shape: blocks.0.convolutions.0.weight \(4x4x3x3, not 4x3x3x3\)"):
        load_encoder(network_of("resunet", 2, inputs="image").core.encoder, ours.state_dict(), "file")


def test_tensors_that_do_not_match_are_listed_by_kind():
    ours = network_of("unet-plain", 2).core.encoder
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    weights = {name: tensor for name, tensor in before.items() if not name.startswith("blocks.2.")}
    weights |= {"fc.weight": torch.zeros(2), "blocks.0.1.bias": torch.zeros(5)}
    with pytest.raises(UserError) as error:
        load_encoder(ours, weights, "file")
    assert str(error.value) == (
        "file: weights of another encoder: missing: blocks.2.0.weight, blocks.2.1.weight, blocks.2.1.bias and 9 more; "
        "left over: fc.weight; of another shape: blocks.0.1.bias (5, not 4)"
    )
    assert all(torch.equal(ours.state_dict()[name], tensor) for name, tensor in before.items())


class Code:
    ran = False

    def __reduce__(self):
        return (exec, ("from test_weights_file import Code; Code.ran = True",))


@pytest.mark.parametrize(
    ("write", "problem"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_text("weights"), "is damaged or no file of weights"),
        (lambda path: path.write_bytes(b""), "is damaged or no file of weights"),
        (lambda path: path.write_bytes(b"\x40" + bytes(7) + b'{"a": 1'), "is damaged or no file of weights"),
        (lambda path: path.write_bytes(b"PK\x03\x04 cut"), "is damaged or no file of weights"),
        (lambda path: path.write_bytes(pickle.dumps(Code())), "contains pickled objects besides tensors"),
        (lambda path: torch.save({"weight": Code()}, path), "contains pickled objects besides tensors"),
        (lambda path: torch.save({"epoch": 3, "weight": torch.zeros(1)}, path), "is not a state dict"),
        (lambda path: torch.save({}, path), "is not a state dict"),
    ],
)
def test_what_is_no_file_of_weights_is_refused_by_one_line_that_names_it(write, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "w.pt")
    with pytest.raises(UserError, match=rf"^encoder_weights: w.pt: {problem}[^\n]*$"):
        read_weights(file_of(tiny_network("unet", encoder_weights="w.pt")))
    assert not Code.ran
