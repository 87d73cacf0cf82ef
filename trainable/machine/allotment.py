"""Where a run is executed, and the resources that one fold trial gets."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """Where to execute a run: on the cluster at ``address`` or on a local Ray; and what each fold trial gets.

    ``runs`` is the root of all runs, which every node must reach.
    """

    address: str | None
    runs: str
    dashboard: bool
    cpu: float | str
    gpu: float | str


@dataclass(frozen=True)
class Allotment:
    """What one fold trial gets, how many run at once, and the share of its GPU's memory that each may use.

    ``kind`` is Ray's accelerator type if the cluster has several; ``avoid`` are nodes that are excluded although they
    have room.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    slots: int = 1
    memory: float = 1.0
    kind: str = ""
    avoid: tuple[str, ...] = ()

    @property
    def crowded(self) -> bool:
        """Whether fold trials share a device, and with it its memory."""
        return 0 < self.gpus < 1 or (self.gpus == 0 and self.slots > 1)


def fitting(cores: float, devices: float, cpus: float, gpus: float) -> int:
    """How many fold trials with this many cores and GPUs each run on a machine at once, at least one."""
    slots = int(cores / cpus + 1e-9)
    if gpus:
        # A fraction must fit on a single GPU: the remainders of two GPUs cannot be combined.
        slots = min(slots, int(devices) * int(1 / gpus + 1e-9) if gpus < 1 else int(devices / gpus + 1e-9))
    return max(1, slots)
