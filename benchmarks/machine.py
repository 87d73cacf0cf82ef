"""What a benchmark was run on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def machine() -> dict[str, str | int]:
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = model[0].split(":")[1].strip() if model else platform.machine()
    cores = len(os.sched_getaffinity(0))
    return {"cpu": f"{cores} cores of {cpu}", "python": platform.python_version(), "ray": version("ray")}
