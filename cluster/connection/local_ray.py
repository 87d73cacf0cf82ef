"""A Ray on this machine only, with its own output silenced."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ray

from cluster.connection.ray_workarounds import few_processes, keep_node, loopback_only, patched_ray
from cluster.connection.token import ensure_token
from cluster.deployment.grafana import dashboard_provided
from trainable.printing import say


@contextmanager
def local_ray(dashboard: bool) -> Iterator[None]:
    """Start Ray on this machine and shut it down afterwards; workers can import this project from any folder."""
    home = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    token = ensure_token()
    provided = dashboard_provided() if dashboard else nullcontext()
    with patched_ray(), loopback_only(), few_processes(dashboard), provided:
        # Port 0 picks a free port, so that several launches can share a machine.
        started = ray.init(
            "local",  # without it, Ray joins any cluster that already runs on this machine
            include_dashboard=dashboard,
            dashboard_host="127.0.0.1",
            dashboard_port=0,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        keep_node()
        try:
            _print_addresses(started.address_info, token)
            yield
        finally:
            ray.shutdown()


def _print_addresses(address: Mapping[str, Any], token: str) -> None:
    if address["webui_url"]:
        say(f"dashboard: http://{address['webui_url']} ({token})")
    say(f"metrics for Prometheus: http://{address['node_ip_address']}:{address['metrics_export_port']}/metrics")
