"""How many fold trials run at once, computed from the footprint of one and the GPUs and cores of each machine.

Pure arithmetic: no Ray, no CUDA.
"""

from collections.abc import Callable, Mapping, Sequence

from trainable.machine.allotment import Allotment, fitting
from trainable.machine.memory_footprint import Footprint

MARGIN = 1.1  # long training may need slightly more memory than the short measurement
MAX_PER_GPU = 8  # more fold trials on one GPU only wait for each other
GRAIN = 10_000  # Ray counts GPUs in units of 1/10,000, so fractions are rounded down to that
GPU_TYPE = "accelerator_type:"  # prefix of the resource that names a machine's GPU type
NODE_ID = "ray.io/node-id"  # label that names a node

Machine = Mapping[str, float]  # Ray's resources of a machine


def allotments_of(
    machines: Sequence[Machine], cpu: float | str, gpu: float | str, measure: Callable[[str], Footprint] | None = None
) -> list[Allotment]:
    """The allotments for the resources that a space requests, one per kind of GPU; empty if no machine has them.

    With ``gpu: auto``, as many fold trials share a GPU as are measured to fit, or one without a measurement; machines
    without GPUs are then unused if any machine has one. With ``cpu: auto``, the cores are divided among the fold
    trials of a GPU; without GPUs each fold trial gets one core, because two fold trials on one core each train more
    images than one fold trial on two.
    """
    least = float(gpu) if not isinstance(gpu, str) else min(1.0, max(map(gpu_count, machines), default=0.0))
    machines = [machine for machine in machines if machine.get("CPU", 0.0) > 0 and gpu_count(machine) >= least]
    by_kind: dict[str, list[Machine]] = {}
    for machine in machines:
        by_kind.setdefault(kind_of(machine) if gpu != 0 else "", []).append(machine)
    return [_allotment(kind, by_kind[kind], cpu, gpu, measure) for kind in sorted(by_kind)]


def gpu_count(machine: Machine) -> float:
    return machine.get("GPU", 0.0)


def kind_of(machine: Machine) -> str:
    return next((name.removeprefix(GPU_TYPE) for name in sorted(machine) if name.startswith(GPU_TYPE)), "")


def slots_on(machine: Machine, allotment: Allotment) -> int:
    """How many fold trials with this allotment run on a machine at once."""
    if machine.get("CPU", 0.0) <= 0 or (allotment.gpus and not gpu_count(machine)):
        return 0
    return fitting(machine["CPU"], gpu_count(machine), min(allotment.cpus, machine["CPU"]), allotment.gpus)


def _allotment(
    kind: str,
    machines: Sequence[Machine],
    cpu: float | str,
    gpu: float | str,
    measure: Callable[[str], Footprint] | None,
) -> Allotment:
    """The allotment on machines that all have the same kind of GPU, or none."""
    cores = [machine["CPU"] for machine in machines]
    least = 1.0 if isinstance(cpu, str) else min(cpu, *cores)
    memory = 1.0
    if not isinstance(gpu, str):
        gpus = gpu
        memory = min(1.0, gpus) or 1.0
    elif gpu_count(machines[0]) and measure:
        by_cores = min(int(machine["CPU"] / gpu_count(machine) / least + 1e-9) for machine in machines)
        gpus, memory = pack(measure(kind), by_cores)
    else:
        gpus = min(1.0, gpu_count(machines[0]))
    slots = [fitting(machine["CPU"], gpu_count(machine), least, gpus) for machine in machines]
    even = min(int(each / count) for each, count in zip(cores, slots, strict=True))
    cpus = float(even) or least if isinstance(cpu, str) and gpus else least
    return Allotment(cpus, gpus, sum(slots), memory, kind)


def pack(footprint: Footprint, by_cores: int) -> tuple[float, float]:
    """The fraction of a GPU for a fold trial, and the fraction of the GPU's memory that its tensors may fill.

    The CUDA context of the process is subtracted from the latter, because no limit applies to it.
    """
    card = footprint.card.memory
    count = max(1, min(int(card / (footprint.total * MARGIN)), by_cores, MAX_PER_GPU))
    if count == 1:
        return 1.0, 1.0
    return GRAIN // count / GRAIN, 1 / count - footprint.context / card
