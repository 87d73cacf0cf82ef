"""The machine and the commit of a measurement, which its result file contains; some older files lack the commit."""

import os
import platform
import shlex
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path


def cpu_name() -> str:
    lines = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{len(os.sched_getaffinity(0))} cores of {lines[0].split(':')[1].strip() if lines else platform.machine()}"


def machine(*packages: str) -> dict[str, str | int]:
    """The processor, the Python version and the versions of these packages."""
    return {"cpu": cpu_name(), "python": platform.python_version(), **{name: version(name) for name in packages}}


def command_line() -> str:
    """The command of this benchmark, from the root of the project."""
    return f"python benchmarks/{shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}"


def driver() -> str | None:
    """The version of the GPU's driver."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None


def replay_facts(name: str, seconds: float, tables: int) -> dict[str, object]:
    """How a benchmark replayed tables: its command without the folder, which differs, and where it ran."""
    command = " ".join(["python", f"benchmarks/{name}.py", "FOLDER", *sys.argv[2:]])
    return {"command": command, "commit": commit(), "machine": machine(), "seconds": round(seconds), "tables": tables}


COMMIT = "COMMIT"  # a file beside this one if the sources were copied without their history


def commit() -> str | None:
    """The commit of this checkout, marked if files were changed; None if it is unknown."""
    with suppress(OSError):
        return Path(__file__).with_name(COMMIT).read_text().strip() or None
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return None
