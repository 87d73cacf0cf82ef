"""The planned layout: how many fold trials fit on each machine, computed without starting any."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from cluster.capacity.packing import GPU_TYPE, Machine, allotments_of, gpu_count, kind_of, slots_on
from trainable.errors import UserError
from trainable.machine.memory_footprint import GIB, Card, Footprint

CONTEXT = 0.5  # GiB of a CUDA context, assumed where it is not measured
MACHINE = re.compile(r"(?:(?P<count>\d+)\s*x\s*)?(?P<cores>\d+)\s*cores?(?:\s*\+\s*(?P<gpus>\d+)\s*(?P<kind>[\w.-]+))?")

Row = dict[str, Any]


def parse_machines(specs: Sequence[str]) -> list[tuple[str, Machine]]:
    """Parse machine specs such as ``4 x 96 cores + 8 A100``."""
    machines: list[tuple[str, Machine]] = []
    for spec in specs:
        match = MACHINE.fullmatch(spec.strip())
        if match is None:
            raise UserError(f"--machine {spec!r}: must be like '96 cores' or '4 x 96 cores + 8 A100'")
        resources = {"CPU": float(match["cores"])}
        if match["gpus"]:
            resources |= {"GPU": float(match["gpus"]), f"{GPU_TYPE}{match['kind']}": 1.0}
        for _ in range(int(match["count"] or 1)):
            machines.append((f"machine {len(machines) + 1}", resources))
    return machines


def stated_footprint(trial: float, card: float) -> Callable[[str], Footprint]:
    """The footprint that --fold-trial and --card state in GiB, for every kind of GPU."""
    if not trial <= card < math.inf:
        raise UserError(f"--fold-trial {trial:g}: does not fit on a GPU of {card:g} GiB")
    tensors, context = int((trial - CONTEXT) * GIB), int(CONTEXT * GIB)
    if tensors <= 0:
        raise UserError(f"--fold-trial {trial:g}: must exceed the {CONTEXT:g} GiB of a CUDA context")
    return lambda kind: Footprint(tensors, context, Card(kind, int(card * GIB)))


def layout(
    machines: Sequence[tuple[str, Machine]],
    cpu: float | str,
    gpu: float | str,
    measure: Callable[[str], Footprint] | None = None,
) -> list[Row]:
    """One row per machine, including those without room for a fold trial."""
    found = allotments_of([machine for _, machine in machines], cpu, gpu, measure)
    allotments = {allotment.kind: allotment for allotment in found}
    rows = []
    for name, machine in machines:
        allotment = allotments.get(kind_of(machine) if gpu != 0 else "")
        slots = 0 if allotment is None else slots_on(machine, allotment)
        row: Row = {"machine": name, "gpus": int(gpu_count(machine)), "kind": kind_of(machine), "fold_trials": slots}
        row["cores"] = int(machine.get("CPU", 0))
        if allotment is not None and slots:
            row |= {"gpu_each": allotment.gpus, "cores_each": allotment.cpus, "memory_each": round(allotment.memory, 3)}
        rows.append(row)
    return rows
