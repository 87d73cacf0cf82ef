"""A Ray of this machine alone, silent."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ray

from cluster.connection.ray_workarounds import filled_in, on_loopback
from cluster.connection.token import ensure_token
from cluster.deployment.grafana import board_provided
from trainable.printing import say


@contextmanager
def local_ray(dashboard: bool) -> Iterator[None]:
    """Start Ray on this machine and end it again; workers find this project wherever it was started from."""
    home = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    token = ensure_token()
    with filled_in(), on_loopback(), board_provided() if dashboard else nullcontext():
        # Port 0 is a free one, so that several launches may share a machine.
        started = ray.init(
            "local",  # or Ray would join any other that was started on this machine, whoever it is meant for
            include_dashboard=dashboard,
            dashboard_host="127.0.0.1",
            dashboard_port=0,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        try:
            _say_where(started.address_info, token)
            yield
        finally:
            ray.shutdown()


def _say_where(address: Mapping[str, Any], token: str) -> None:
    if address["webui_url"]:
        say(f"dashboard: http://{address['webui_url']} ({token})")
    say(f"metrics for Prometheus: http://{address['node_ip_address']}:{address['metrics_export_port']}/metrics")
