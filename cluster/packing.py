"""How many fold trials run at once: arithmetic on what one of them takes and on what cards and cores there are.

All cards are taken to be alike. It knows neither Ray nor CUDA.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trainable.errors import UserError
from trainable.footprint import Footprint

MARGIN = 1.1  # hours of training may need a little more than the seconds that were measured
MOST = 8  # fold trials on a card: more of them only wait for each other
GRAIN = 10_000  # Ray counts a card in ten-thousandths, so that is what a share is cut to


@dataclass(frozen=True)
class Share:
    """What one fold trial gets, how many run at once, and which part of its card's memory one may fill."""

    cpus: float
    gpus: float
    slots: int
    memory: float = 1.0


def share_of(
    have: Mapping[str, float], cpu: float | str, gpu: float | str, measure: Callable[[], Footprint] | None = None
) -> Share:
    """Resources as a space asks for them, on what there is.

    ``auto`` is as many fold trials on a GPU as are measured to fit, or one where there is nothing to measure; and as
    many cores for each as there are for it. Without a GPU it is one core for each: two fold trials on a core apiece
    train more images than one on both.
    """
    cores, cards = have.get("CPU", 1.0), have.get("GPU", 0.0)
    least = 1.0 if isinstance(cpu, str) else min(cpu, cores)
    memory = 1.0
    if not isinstance(gpu, str):
        gpus = gpu
        memory = min(1.0, gpus) or 1.0
    elif cards and measure:
        gpus, memory = packed(measure(), int(cores / cards / least + 1e-9))
    else:
        gpus = min(1.0, cards)
    if gpus > cards:
        raise UserError(f"resources.gpu = {gpus:g}: a fold trial asks for more GPUs than there are ({cards:g})")
    slots = int(cores / least + 1e-9)
    if gpus:
        # Shares of one fold trial lie on one card: what is left of two cards is not a third share.
        slots = min(slots, int(cards) * int(1 / gpus + 1e-9) if gpus < 1 else int(cards / gpus + 1e-9))
    slots = max(1, slots)
    cpus = float(int(cores / slots)) or least if isinstance(cpu, str) and gpus else least
    return Share(cpus, gpus, slots, memory)


def packed(footprint: Footprint, by_cores: int) -> tuple[float, float]:
    """The share of a card for a fold trial, and the part of its memory that tensors may fill.

    The context that CUDA keeps for a process comes off its part, because it can be held to no limit.
    """
    card = footprint.card.memory
    count = max(1, min(int(card / (footprint.total * MARGIN)), by_cores, MOST))
    if count == 1:
        return 1.0, 1.0
    return GRAIN // count / GRAIN, 1 / count - footprint.context / card
