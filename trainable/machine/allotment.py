"""What a run is given of machines, and a fold trial of one of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where a run is to run: on the cluster at ``address``, or on a Ray of this machine; and what each trial gets.

    ``runs`` is the place of all runs, which every machine must reach.
    """

    address: str | None
    runs: str
    dashboard: bool
    cpu: float | str
    gpu: float | str


@dataclass(frozen=True)
class Share:
    """What one fold trial gets, how many run at once, and which part of its card's memory one may fill.

    ``kind`` is the kind of GPU that it is for, as Ray calls it, where machines are told apart by it; ``avoid`` are
    the nodes that it is not on, though they may have room.
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
