"""An existing Ray cluster: joined by its address, with the code sent along and the data put where nodes find them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ray

from cluster.gaps import filled_in
from cluster.packing import KIND
from trainable.dataset import Split
from trainable.errors import UserError
from trainable.footprint import Footprint
from trainable.printing import say
from trainable.shipment import parts_of

HOME = Path(__file__).parents[1]
ROOMS = ("spaces", "trainable", "search", "cluster")  # what a worker may load
IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # a Ray job brings its code itself


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Be a driver of a cluster; its workers find this code wherever they run."""
    if address.startswith(("ray://", "http://", "https://")):
        raise UserError(
            f"--address {address}: a search is driven from inside the cluster; from outside, "
            "python -m search submit SPACE --address http://HEAD:8265 sends it there"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    code = None if os.environ.get(IN_A_JOB) else {"py_modules": [str(HOME / room) for room in ROOMS]}
    with filled_in():
        try:
            started = ray.init(
                address,
                runtime_env=code,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError, RuntimeError) as problem:
            first = str(problem).strip().splitlines()[0]
            raise UserError(
                f"--address {address}: no Ray cluster can be joined there ({first}). "
                "The token must be the cluster's: RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
            ) from None
        try:
            _say_where(started.address_info)
            yield
        finally:
            ray.shutdown()


def _say_where(address: Mapping[str, Any]) -> None:
    nodes = [node for node in ray.nodes() if node["Alive"]]
    say(f"joined the Ray cluster at {address['gcs_address']}: {len(nodes)} nodes")
    if address.get("webui_url"):
        say(f"dashboard: http://{address['webui_url']}")


def put_data(split: Split) -> Callable[[], Iterator[bytes]]:
    """Put the files of a split into the object store; what is given back fetches them on any node."""
    return partial(_fetch, [ray.put(part) for part in parts_of(split)])


def _fetch(parts: list[Any]) -> Iterator[bytes]:
    for part in parts:
        yield ray.get(part)


def measured_there(measure: Callable[[], Footprint], kind: str) -> Footprint:
    """What a fold trial takes of a kind of card, measured on a node that has one."""
    named = {f"{KIND}{kind}": 0.001} if kind else {}
    task = ray.remote(num_gpus=1, max_calls=1, max_retries=2, resources=named)(measure)
    try:
        footprint: Footprint = ray.get(task.remote())
    except ray.exceptions.RayTaskError as problem:
        cause = problem.cause
        raise cause if isinstance(cause, UserError) else UserError(f"{kind}: cannot be measured ({cause})") from None
    return footprint
