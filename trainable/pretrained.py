"""Weights that an encoder starts from: fetched from the hub or at hand in its cache, and told of at once if neither.

The hub's own client tries again for half a minute to reach a network that is not there. It is therefore asked once,
shortly, whether it answers; where it does not, its client is told to look into its cache alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from huggingface_hub import constants, get_session

from trainable.config import Config

PATIENCE = 5.0  # seconds for the first answer


@contextmanager
def cache_alone_if_silent() -> Iterator[None]:
    """Within this nothing waits for a hub that cannot be reached."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def fetch_weights(configs: Iterable[Config]) -> None:
    """Have the weights that these configs start from in the cache, or say which cannot be had."""
    from trainable.models import build_network  # it takes its weights from within this module's care

    started = {(config.encoder, config.encoder_weights): config for config in configs if config.encoder_weights}
    for config in started.values():
        build_network(config, [0.0] * 3, [1.0] * 3)


def _answers() -> bool:
    """Whether the hub says anything at all, through whatever proxy its client would take."""
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # noqa: BLE001  the client's own errors are of a library that changes with its version
        return False
    return True
