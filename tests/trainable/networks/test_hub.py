"""Weights from a hub that answers, from one that does not, and from none that may be asked."""

from types import SimpleNamespace

import pytest
from conftest import small_config
from huggingface_hub import constants

from trainable.errors import UserError
from trainable.networks import hub as weights_hub
from trainable.networks.registry import fetch_weights


@pytest.fixture
def hub(monkeypatch):
    """A hub that may be asked, and answers or not."""

    def make(answer):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(weights_hub, "get_session", lambda: SimpleNamespace(head=answer))

    return make


def silence(url, timeout):
    raise ConnectionError(f"{url} does not answer")


def test_an_unreachable_hub_is_replaced_by_its_cache_temporarily(hub):
    hub(silence)
    with pytest.raises(KeyError), weights_hub.cache_alone_if_silent():
        assert constants.is_offline_mode()
        raise KeyError
    assert not constants.is_offline_mode()


def test_a_hub_that_answers_is_left_to_its_client(hub):
    hub(lambda url, timeout: None)
    with weights_hub.cache_alone_if_silent():
        assert not constants.is_offline_mode()


def test_offline_mode_of_the_user_is_kept(hub, monkeypatch):
    hub(lambda url, timeout: pytest.fail("it was asked"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with weights_hub.cache_alone_if_silent():
        assert constants.is_offline_mode()


def test_unavailable_weights_are_reported_with_the_cache_folder(hub):
    hub(silence)
    started = small_config(encoder="resnet18", encoder_weights="imagenet")
    with pytest.raises(UserError, match=r"weights of 'resnet18' are not available here.*the hub's cache /.*=none"):
        fetch_weights([small_config(), started, started])


def test_configs_that_train_from_scratch_need_no_hub(hub):
    hub(lambda url, timeout: pytest.fail("it was asked"))
    fetch_weights([small_config(), small_config(encoder="resnet18")])
