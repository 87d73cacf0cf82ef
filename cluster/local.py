"""A Ray of this machine alone, silent, and what share of it each fold trial gets."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from cluster.packing import Share, share_of
from trainable.footprint import Footprint


@contextmanager
def local_ray(cpu: float | str, gpu: float | str, measure: Callable[[], Footprint] | None = None) -> Iterator[Share]:
    """Start Ray on this machine and end it again; workers find this project wherever it was started from."""
    home = str(Path(__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield share_of(ray.cluster_resources(), cpu, gpu, measure)
    finally:
        ray.shutdown()
