"""A Ray of this machine alone, silent, and what share of it each fold trial gets."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from cluster.gaps import filled_in
from cluster.token import ensure_token
from trainable.errors import UserError
from trainable.printing import say


@dataclass(frozen=True)
class Share:
    """What one fold trial gets, and how many run at once."""

    cpus: float
    gpus: float
    slots: int


@contextmanager
def local_ray(cpu: float | str, gpu: float | str, dashboard: bool) -> Iterator[Share]:
    """Start Ray on this machine and end it again; workers find this project wherever it was started from."""
    home = str(Path(__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    token = ensure_token()
    with filled_in():
        # Port 0 is a free one, so that several launches may share a machine.
        started = ray.init(
            include_dashboard=dashboard,
            dashboard_host="127.0.0.1",
            dashboard_port=0,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        try:
            _say_where(started.address_info, token)
            yield share_of(ray.cluster_resources(), cpu, gpu)
        finally:
            ray.shutdown()


def _say_where(address: Mapping[str, Any], token: str) -> None:
    if address["webui_url"]:
        say(f"dashboard: http://{address['webui_url']} ({token})")
    say(f"metrics for Prometheus: http://{address['node_ip_address']}:{address['metrics_export_port']}/metrics")


def share_of(have: Mapping[str, float], cpu: float | str, gpu: float | str) -> Share:
    """``auto`` is one core, and one GPU where there is any."""
    cores, cards = have.get("CPU", 1.0), have.get("GPU", 0.0)
    gpus = min(1.0, cards) if isinstance(gpu, str) else gpu
    cpus = min(1.0 if isinstance(cpu, str) else cpu, cores)
    if gpus > cards:
        raise UserError(f"resources.gpu = {gpus:g}: a fold trial asks for more GPUs than there are ({cards:g})")
    slots = int(cores / cpus + 1e-9)
    if gpus:
        slots = min(slots, int(cards / gpus + 1e-9))
    return Share(cpus, gpus, max(1, slots))
