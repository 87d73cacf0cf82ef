"""Reaching a Ray that is there already, with this project's code for its nodes."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
from ray._private import services
from ray._private.authentication.authentication_token_setup import _enable_token_auth
from ray.exceptions import RayError

from cluster.gaps import filled_in
from cluster.token import ensure_token
from trainable.errors import UserError
from trainable.versions import ROOMS

KNOCK_SECONDS = 10.0


@contextmanager
def connected(address: str) -> Iterator[None]:
    """A node that has no copy of this project, or another one, runs the one of this machine."""
    home = Path(__file__).parents[1]
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ensure_token()
    if "RAY_AUTH_MODE" not in os.environ:
        _enable_token_auth()  # as Ray does by itself where it starts, though not where it is only reached
    _knock(address)
    with filled_in():
        try:
            ray.init(
                address,
                runtime_env={"py_modules": [str(home / room) for room in ROOMS], "excludes": ["__pycache__"]},
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError, RuntimeError, RayError) as error:
            first = str(error).strip().splitlines()[0]
            raise UserError(f"{address}: this Ray lets nobody in ({first}); does it have the same token?") from None
        try:
            yield
        finally:
            ray.shutdown()


def _knock(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise UserError(f"--address {address}: must be HOST:PORT, with the port of ray start --head (6379 by default)")
    door = (services.resolve_ip_for_localhost(host.strip("[]")), int(port))  # where Ray would go for this address
    try:
        socket.create_connection(door, timeout=KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"{address}: no Ray can be reached there ({error}); is it running, is the port open?") from None
