"""Reaching a Ray that is there already, with this project's code for its nodes."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import ray
from ray._common.network_utils import build_address
from ray._private import services
from ray._private.authentication.authentication_token_setup import _enable_token_auth
from ray.exceptions import RayError

from cluster.connection.ray_workarounds import filled_in
from cluster.connection.token import ensure_token
from trainable.errors import UserError
from trainable.machine.versions import ROOMS

HOME = Path(__file__).parents[2]
KNOCK_SECONDS = 10.0
HIGHEST_PORT = 65535
STRANGERS_WORDS = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNIMPLEMENTED)
IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # a Ray job brings its code itself


@contextmanager
def connected(address: str) -> Iterator[None]:
    """A node that has no copy of this project, or another one, runs the one of this machine."""
    if address.startswith(("ray://", "http://", "https://")):
        raise UserError(
            f"--address {address}: must be HOST:PORT of a cluster that this machine is a part of; from outside, "
            "python -m search submit SPACE --address http://HEAD:8265 sends a search there"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    show_token()
    if address != "auto":
        _knock(address)
    code = {"py_modules": [str(HOME / room) for room in ROOMS], "excludes": ["__pycache__"]}
    with filled_in():
        try:
            ray.init(
                address,
                runtime_env=None if os.environ.get(IN_A_JOB) else code,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError, RuntimeError, RayError) as error:
            first = str(error).strip().splitlines()[0]
            raise UserError(f"{address}: this Ray lets nobody in ({first}); does it have the same token?") from None
        try:
            _check_door(ray.get_runtime_context().gcs_address)
            yield
        finally:
            ray.shutdown()


def show_token() -> None:
    """Have Ray show this user's token, as it does by itself where it starts, though not where it is only reached."""
    ensure_token()
    if "RAY_AUTH_MODE" not in os.environ:
        _enable_token_auth()


def _check_door(address: str) -> None:
    """A Ray that asks for no token shows none either: this program would not hear it, and every actor would die."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return
    if _greet(address) is None:
        raise UserError(
            f"{address}: this Ray asks for no token, so whoever reaches it may run code there. Start it with one, as "
            "docs/cluster.md tells; RAY_AUTH_MODE=disabled joins it as it is"
        )


def _knock(address: str) -> None:
    """Ray itself would try for minutes, also where something else listens."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit() or int(port) > HIGHEST_PORT:
        raise UserError(f"--address {address}: must be HOST:PORT, with the port of ray start --head (6379 by default)")
    door = (services.resolve_ip_for_localhost(host.strip("[]")), int(port))  # where Ray would go for this address
    try:
        socket.create_connection(door, timeout=KNOCK_SECONDS).close()
    except OSError as error:
        raise UserError(f"{address}: no Ray can be reached there ({error}); is it running, is the port open?") from None
    if os.environ.get("RAY_USE_TLS", "0") in ("0", "") and _greet(build_address(*door)) in STRANGERS_WORDS:
        raise UserError(
            f"{address}: what listens there is no Ray, or not its door: it must be the port of ray start --head (6379 "
            "by default), not the dashboard's (8265) or the client's (10001)"
        )


def _greet(address: str) -> grpc.StatusCode | None:
    """What it answers to somebody without a token; None where it lets them in."""
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")(b"", timeout=KNOCK_SECONDS)
        except grpc.RpcError as error:
            return error.code()
    return None
