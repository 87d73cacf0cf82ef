"""Whether the hub that weights are fetched from can be reached; where it cannot, its client looks into its cache alone.

The client retries for half a minute to reach a network that is not there, so the hub is asked once, shortly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants, get_session

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


def _answers() -> bool:
    """Whether the hub says anything at all, through whatever proxy its client would take."""
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # noqa: BLE001  the client's own errors are of a library that changes with its version
        return False
    return True
