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
