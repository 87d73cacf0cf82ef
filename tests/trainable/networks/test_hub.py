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


def test_where_the_hub_is_silent_only_its_cache_is_asked_and_afterwards_all_is_as_before(hub):
    hub(silence)
    with pytest.raises(KeyError), weights_hub.cache_alone_if_silent():
        assert constants.is_offline_mode()
        raise KeyError
    assert not constants.is_offline_mode()


def test_a_hub_that_answers_is_left_to_its_client(hub):
    hub(lambda url, timeout: None)
    with weights_hub.cache_alone_if_silent():
        assert not constants.is_offline_mode()


def test_whoever_wants_no_hub_to_be_asked_keeps_that(hub, monkeypatch):
    hub(lambda url, timeout: pytest.fail("it was asked"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with weights_hub.cache_alone_if_silent():
        assert constants.is_offline_mode()


def test_weights_that_cannot_be_had_are_told_with_the_place_where_they_could_lie(hub):
    hub(silence)
    started = small_config(encoder="resnet18", encoder_weights="imagenet")
    with pytest.raises(UserError, match=r"weights of 'resnet18' are not available here.*the hub's cache /.*=none"):
        fetch_weights([small_config(), started, started])


def test_configs_that_train_from_scratch_need_no_hub(hub):
    hub(lambda url, timeout: pytest.fail("it was asked"))
    fetch_weights([small_config(), small_config(encoder="resnet18")])
