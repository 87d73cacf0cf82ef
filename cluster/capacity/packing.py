"""How many fold trials run at once: arithmetic on what one of them takes and on what cards and cores there are.

It knows neither Ray nor CUDA.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from trainable.errors import UserError
from trainable.machine.allotment import Share
from trainable.machine.memory_footprint import Footprint

MARGIN = 1.1  # hours of training may need a little more than the seconds that were measured
MOST = 8  # fold trials on a card: more of them only wait for each other
GRAIN = 10_000  # Ray counts a card in ten-thousandths, so that is what a share is cut to
KIND = "accelerator_type:"  # how Ray says which cards a machine has
NODE = "ray.io/node-id"  # and which machine it is

Machine = Mapping[str, float]  # what one machine has, in Ray's words


def shares_of(
    machines: Sequence[Machine], cpu: float | str, gpu: float | str, measure: Callable[[str], Footprint] | None = None
) -> list[Share]:
    """Resources as a space asks for them, on the machines that there are; a share for each kind of card.

    ``auto`` is as many fold trials on a GPU as are measured to fit on that kind, or one where there is nothing to
    measure; and as many cores for each as there are for it. Without a GPU it is one core for each: two fold trials on
    a core apiece train more images than one on both. Where any machine has a GPU, those without one are left alone.
    No machine that has what is asked for is no share.
    """
    least = float(gpu) if not isinstance(gpu, str) else min(1.0, max(map(cards, machines), default=0.0))
    machines = [machine for machine in machines if machine.get("CPU", 0.0) > 0 and cards(machine) >= least]
    alike: dict[str, list[Machine]] = {}
    for machine in machines:
        alike.setdefault(kind_of(machine) if gpu != 0 else "", []).append(machine)
    return [_share(kind, alike[kind], cpu, gpu, measure) for kind in sorted(alike)]


def share_of(
    have: Machine, cpu: float | str, gpu: float | str, measure: Callable[[str], Footprint] | None = None
) -> Share:
    """The share of a fold trial on this one machine."""
    if not (shares := shares_of([have], cpu, gpu, measure)):
        raise UserError(f"resources.gpu = {gpu:g}: a fold trial asks for more GPUs than there are ({cards(have):g})")
    return shares[0]


def cards(machine: Machine) -> float:
    return machine.get("GPU", 0.0)


def kind_of(machine: Machine) -> str:
    return next((name.removeprefix(KIND) for name in sorted(machine) if name.startswith(KIND)), "")


def slots_on(machine: Machine, share: Share) -> int:
    """How many fold trials with this share run on a machine at once."""
    if machine.get("CPU", 0.0) <= 0 or (share.gpus and not cards(machine)):
        return 0
    return max(1, _slots(machine, min(share.cpus, machine["CPU"]), share.gpus))


def _share(
    kind: str,
    machines: Sequence[Machine],
    cpu: float | str,
    gpu: float | str,
    measure: Callable[[str], Footprint] | None,
) -> Share:
    """On machines with one kind of card, or with none."""
    cores = [machine["CPU"] for machine in machines]
    least = 1.0 if isinstance(cpu, str) else min(cpu, *cores)
    memory = 1.0
    if not isinstance(gpu, str):
        gpus = gpu
        memory = min(1.0, gpus) or 1.0
    elif cards(machines[0]) and measure:
        by_cores = min(int(each / cards(machine) / least + 1e-9) for machine, each in zip(machines, cores, strict=True))
        gpus, memory = packed(measure(kind), by_cores)
    else:
        gpus = min(1.0, cards(machines[0]))
    slots = [max(1, _slots(machine, least, gpus)) for machine in machines]
    even = min(int(each / count) for each, count in zip(cores, slots, strict=True))
    cpus = float(even) or least if isinstance(cpu, str) and gpus else least
    return Share(cpus, gpus, sum(slots), memory, kind)


def _slots(machine: Machine, cpus: float, gpus: float) -> int:
    slots = int(machine["CPU"] / cpus + 1e-9)
    if gpus:
        # Shares of one fold trial lie on one card: what is left of two cards is not a third share.
        has = cards(machine)
        slots = min(slots, int(has) * int(1 / gpus + 1e-9) if gpus < 1 else int(has / gpus + 1e-9))
    return slots


def packed(footprint: Footprint, by_cores: int) -> tuple[float, float]:
    """The share of a card for a fold trial, and the part of its memory that tensors may fill.

    The context that CUDA keeps for a process comes off its part, because it can be held to no limit.
    """
    card = footprint.card.memory
    count = max(1, min(int(card / (footprint.total * MARGIN)), by_cores, MOST))
    if count == 1:
        return 1.0, 1.0
    return GRAIN // count / GRAIN, 1 / count - footprint.context / card
