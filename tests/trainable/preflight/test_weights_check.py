"""Files of weights that do not fit are refused before anything is trained, in one error."""

from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import pytest
import torch
from conftest import small_config
from tiny_networks import tiny_network
from torch import nn

from trainable.errors import UserError
from trainable.networks.registry import ARCHITECTURES, build_network
from trainable.preflight.weights_check import check_weights
from trainable.storage.shared_file import open_shared


@pytest.fixture
def files(tmp_path):
    """The weights of a test_resnet for grey images of four classes, by their path."""
    path = str(tmp_path / "w.pt")
    torch.save(build_network(small_config(), [0.0], [1.0], classes=4).core.encoder.state_dict(), path)
    return {path: open_shared(path)}


def test_weights_that_fit_the_channels_of_the_data_pass(files):
    (path,) = files
    check_weights([small_config(), small_config(encoder_weights=path, pc=2)], files, 1, 4)
    with pytest.raises(UserError, match=r"16x5x3x3, not 16x2x3x3\)"):
        check_weights([small_config(encoder_weights=path)], files, 1, 2)


def test_weights_of_an_encoder_of_smp_pass_for_images_with_scribbles(tmp_path):
    path, config = str(tmp_path / "w.pt"), {"encoder": "resnet18"}
    encoder = build_network(small_config(**config, inputs="image"), [0.0] * 3, [1.0] * 3).core.encoder
    torch.save(encoder.state_dict(), path)
    check_weights([small_config(**config, encoder_weights=path)], {path: open_shared(path)}, 3, 2)


def test_every_network_that_the_file_does_not_fit_is_listed_once(files):
    (path,) = files
    configs = [
        make(encoder_weights=path, **values)
        for values in ({}, {"encoder": "resnet18"}, {"encoder": "resnet18", "pc": 1})
        for make in (small_config,)
    ]
    configs.append(tiny_network("resunet", encoder_weights=path))
    with pytest.raises(UserError) as error:
        check_weights(configs, files, 1, 4)
    lines = str(error.value).splitlines()
    assert len(lines) == 2 and all(line.startswith(f"encoder_weights: {path}, ") for line in lines)
    assert "resnet18 unet: weights of another encoder: missing: " in lines[0] and "resunet, width 4" in lines[1]


def test_a_network_without_an_encoder_is_a_clear_error(files, monkeypatch):
    bare = replace(ARCHITECTURES["unet"], build=lambda _, channels: nn.Conv2d(channels.inputs, channels.outputs, 1))
    monkeypatch.setitem(ARCHITECTURES, "unet", bare)
    (path,) = files
    with pytest.raises(UserError, match=f"^encoder_weights: {path}: needs a network with an encoder; this one has"):
        check_weights([small_config(encoder_weights=path)], files, 3, 2)


def test_without_files_no_process_is_started(files):
    check_weights([small_config()], {}, 3, 2, lambda *work: pytest.fail("started"))


def test_a_killed_check_is_a_clear_error(files):
    def killed(*work):
        raise BrokenProcessPool

    with pytest.raises(UserError, match="was killed; is there enough memory"):
        check_weights([small_config(encoder_weights=next(iter(files)))], files, 3, 2, killed)
