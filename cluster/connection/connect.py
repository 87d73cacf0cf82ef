"""Joining a running Ray cluster and sending this project's code to its nodes."""

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

from cluster.connection.ray_workarounds import patched_ray
from cluster.connection.token import ensure_token
from trainable.errors import UserError, first_line
from trainable.machine.versions import ROOMS

HOME = Path(__file__).parents[2]
CONNECT_SECONDS = 10.0
HIGHEST_PORT = 65535
NOT_RAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED)
IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set in a Ray job, which already carries the code


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Join the cluster at ``address``; its nodes run this machine's copy of the project."""
    if address.startswith(("ray://", "http://", "https://")):
        raise UserError(
            f"--address {address}: must be HOST:PORT of a cluster that includes this machine; from outside, use "
            "python -m search submit SPACE --address http://HEAD:8265"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    use_token()
    if address != "auto":
        _check_reachable(address)
    code = {"py_modules": [str(HOME / room) for room in ROOMS], "excludes": ["__pycache__"]}
    with patched_ray():
        try:
            ray.init(
                address,
                runtime_env=None if os.environ.get(IN_A_JOB) else code,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError, RuntimeError, RayError) as error:
            problem = first_line(error)
            raise UserError(f"{address}: Ray refused the connection ({problem}); does it use the same token?") from None
        try:
            _check_token_required(ray.get_runtime_context().gcs_address)
            yield
        finally:
            ray.shutdown()


def use_token() -> None:
    """Make Ray authenticate with this user's token, which it does by default only when it starts a cluster."""
    ensure_token()
    if "RAY_AUTH_MODE" not in os.environ:
        _enable_token_auth()


def _check_token_required(address: str) -> None:
    """Refuse a cluster without token authentication: its replies would be rejected and every actor would die."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return
    if _probe(address) is None:
        raise UserError(
            f"{address}: this Ray requires no token, so anyone who can reach it can run code there. Start it with a "
            "token (docs/cluster.md), or set RAY_AUTH_MODE=disabled to join it without one"
        )


def _check_reachable(address: str) -> None:
    """Fail within seconds if no Ray listens at the address; ``ray.init`` itself retries for minutes."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit() or int(port) > HIGHEST_PORT:
        raise UserError(f"--address {address}: must be HOST:PORT, with the port of ray start --head (6379 by default)")
    endpoint = (services.resolve_ip_for_localhost(host.strip("[]")), int(port))  # as Ray resolves it
    try:
        socket.create_connection(endpoint, timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(f"{address}: unreachable ({error}); is Ray running there, and is the port open?") from None
    plain = os.environ.get("RAY_USE_TLS", "0") in ("0", "")
    status = _probe(build_address(*endpoint)) if plain else None
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        raise UserError(f"{address}: unreachable, nothing answered there within {CONNECT_SECONDS:g} s")
    if status in NOT_RAY:
        raise UserError(
            f"{address}: this is not Ray's GCS port; use the port of ray start --head (6379 by default), not that of "
            "the dashboard (8265) or of Ray Client (10001)"
        )


def _probe(address: str) -> grpc.StatusCode | None:
    """The status of a request without a token; None if it succeeds."""
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")(b"", timeout=CONNECT_SECONDS)
        except grpc.RpcError as error:
            return error.code()
    return None
