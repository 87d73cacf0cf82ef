"""The processors and GPUs of this machine, without torch, which takes seconds to load and some GPU memory."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

ASK_SECONDS = 20.0


def accelerators() -> list[str]:
    """The names of the GPUs that a program started now would see; empty without a driver."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=index,uuid,name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ASK_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode:
        return []
    cards = [[part.strip() for part in line.split(",", 2)] for line in done.stdout.splitlines() if line.strip()]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        wanted = [word.strip() for word in chosen.split(",")]
        cards = [card for card in cards if card[0] in wanted or _names(card[1], wanted)]
    return [card[2] for card in cards]


def device_kind() -> str:
    """What programs on this machine train on: GPU or CPU."""
    return "GPU" if accelerators() else "CPU"


def _names(uuid: str, wanted: list[str]) -> bool:
    """CUDA_VISIBLE_DEVICES also accepts the beginning of a GPU's UUID."""
    return any(word.startswith("GPU-") and uuid.startswith(word) for word in wanted)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's model name, if the system provides it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
