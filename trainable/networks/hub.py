"""Whether the hub for pretrained weights can be reached; if not, its client uses its cache only.

Without a network the client would retry for half a minute, so the hub is first contacted once, with a short time limit.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants, get_session

PATIENCE = 5.0  # seconds


@contextmanager
def cache_alone_if_silent() -> Iterator[None]:
    """Prevent the client from waiting for a hub that cannot be reached."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers() -> bool:
    """Whether the hub answers at all, through the client's own proxy settings."""
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # noqa: BLE001  the types of errors differ between versions of the client
        return False
    return True
