"""Networks are built before anything is trained: in this process here, and once in a new one."""

import os
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest
from conftest import small_config

from trainable.config import make_config
from trainable.errors import UserError
from trainable.preflight import network_check
from trainable.preflight.network_check import FILE, check_networks, weight_bytes


@pytest.fixture
def tried(tmp_path, monkeypatch):
    """Which encoders were tried, and in which processes; what is remembered lies in ``tmp_path``."""
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path))

    class Here:
        def __init__(self):
            self.encoders = []

        def __call__(self, work, configs):
            self.encoders = [config.encoder for config in configs]
            return work(configs)

    return Here()


def configs(*encoders, **values):
    return [small_config(encoder=encoder, **values) for encoder in encoders]


def test_networks_that_can_be_built_are_let_through_and_not_tried_again(tried):
    check_networks(configs("test_resnet", "resnet18", "test_resnet"), tried)
    assert tried.encoders == ["test_resnet", "resnet18"]
    tried.encoders = []
    check_networks(configs("resnet18", "test_resnet"), tried)
    assert tried.encoders == []


def test_the_size_of_the_weights_is_remembered_with_the_networks(tried):
    from trainable.networks.registry import build_network

    small, large = configs("test_resnet", "resnet18")
    check_networks([small, large], tried)
    real = sum(
        each.numel() * each.element_size() for each in build_network(small, [0.0] * 3, [1.0] * 3).state_dict().values()
    )
    assert weight_bytes([small, large]) == {small.id: real, large.id: pytest.approx(57.8e6, rel=0.01)}


def test_all_networks_that_cannot_be_built_are_listed(tried):
    with pytest.raises(UserError) as told:
        check_networks(configs("resnet81", "test_resnet", "eficientnet-b2", "test_vit"), tried)
    lines = str(told.value).splitlines()
    assert "resnet81" in lines[0] and "unknown to smp and timm" in lines[0]
    assert "eficientnet-b2" in lines[1] and "Did you mean 'efficientnet-b2'" in lines[1]
    assert "test_vit" in lines[2] and "cannot be the encoder" in lines[2]


def test_what_is_wrong_is_tried_again_but_not_what_was_right_beside_it(tried):
    for expected in (["test_resnet", "resnet81"], ["resnet81"]):
        with pytest.raises(UserError, match="resnet81"):
            check_networks(configs("test_resnet", "resnet81"), tried)
        assert tried.encoders == expected


def test_the_same_encoder_with_other_attention_is_another_network(tried):
    check_networks(configs("test_resnet"), tried)
    check_networks(configs("test_resnet", attention="scse"), tried)
    assert tried.encoders == ["test_resnet"]


def test_weights_to_start_from_are_not_fetched_for_it(tried, monkeypatch):
    monkeypatch.setattr("trainable.networks.hub._answers", lambda: pytest.fail("asked the hub"))
    check_networks(configs("test_resnet", encoder_weights="imagenet"), tried)
    assert tried.encoders == ["test_resnet"]


OLD = '{"built": ["unet test_resnet None"], "versions": {"timm": "0"}}'


@pytest.mark.parametrize("written", ["", "{", "[]", '{"built": 3, "versions": {}}', OLD])
def test_a_damaged_or_old_memory_is_as_good_as_none(tried, tmp_path, written):
    (tmp_path / FILE).write_text(written)
    check_networks(configs("test_resnet"), tried)
    assert tried.encoders == ["test_resnet"]
    tried.encoders = []
    check_networks(configs("test_resnet"), tried)
    assert tried.encoders == []


@pytest.mark.usefixtures("forking")
def test_torch_is_not_loaded_for_it(tried, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(UserError, match="resnet81"):
        check_networks(configs("resnet81"))
    assert "torch" not in sys.modules


def test_no_process_is_started_if_torch_is_loaded(tried, monkeypatch):
    import torch  # noqa: F401

    monkeypatch.setattr(network_check, "in_fresh_process", lambda *_: pytest.fail("started a process"))
    with pytest.raises(UserError, match="resnet81"):
        check_networks(configs("resnet81"))


def test_a_killed_process_is_reported(tried):
    def killed(work, configs):
        raise BrokenProcessPool

    with pytest.raises(UserError, match="was killed"):
        check_networks(configs("test_resnet"), killed)
    assert not network_check._path().exists()


def test_nothing_to_try_starts_nothing(tried):
    check_networks([], lambda *given: os._exit(9))


def test_a_network_without_an_encoder_is_tried_once_per_width_and_depth(tried):
    plain = [make_config({"architecture": "unet-plain", "width": width, "depth": 2}) for width in (4, 8, 8)]
    check_networks(plain, tried)
    assert len(tried.encoders) == 2


def test_an_encoder_that_cannot_be_built_without_values_is_let_through(tried):
    """Those of SegFormer read numbers from tensors while they are built, which the meta device refuses."""
    check_networks([make_config({"architecture": "segformer", "encoder": "mit_b0", "size": "50x75"})], tried)


def test_an_encoder_of_one_size_alone_is_refused_at_others(tried):
    fixed = {"architecture": "upernet", "encoder": "swin_tiny_patch4_window7_224"}
    check_networks([make_config({**fixed, "size": "224x224"})], tried)
    with pytest.raises(UserError, match=r"cannot be the encoder of a upernet at 96x64 \(AssertionError: Input height"):
        check_networks([make_config({**fixed, "size": "96x64"})], tried)


def test_a_combination_that_smp_refuses_is_one_line_with_its_reason(tried):
    with pytest.raises(UserError, match=r"^encoder = 'densenet121': cannot .* deeplabv3plus \(ValueError: .*dilated"):
        check_networks([make_config({"architecture": "deeplabv3plus", "encoder": "densenet121"})], tried)


def test_a_batch_norm_that_sees_one_value_is_refused_and_other_encoders_are_not(tried):
    check_networks(configs("resnet18", size="32x32"), tried)
    check_networks(configs("convnext_atto", size="32x32", batch_size=1), tried)
    with pytest.raises(UserError, match=r"resnet18.* of a unet at 32x32 with batch_size = 1 .*more than 1 value"):
        check_networks(configs("resnet18", size="32x32", batch_size=1), tried)
