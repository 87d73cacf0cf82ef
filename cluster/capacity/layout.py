"""What would be placed where: the shares of fold trials on each machine, before anything is started."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from cluster.capacity.packing import KIND, Machine, cards, kind_of, shares_of, slots_on
from trainable.errors import UserError
from trainable.machine.memory_footprint import GIB, Card, Footprint

CONTEXT = 0.5  # GiB that CUDA keeps for a process, where nothing was measured
MACHINE = re.compile(r"(?:(?P<count>\d+)\s*x\s*)?(?P<cores>\d+)\s*cores?(?:\s*\+\s*(?P<gpus>\d+)\s*(?P<kind>[\w.-]+))?")

Row = dict[str, Any]


def machines_of(words: Sequence[str]) -> list[tuple[str, Machine]]:
    """Machines as a person writes them: ``4 x 96 cores + 8 A100``."""
    found: list[tuple[str, Machine]] = []
    for each in words:
        told = MACHINE.fullmatch(each.strip())
        if told is None:
            raise UserError(f"--machine {each!r}: must be like '96 cores' or '4 x 96 cores + 8 A100'")
        has = {"CPU": float(told["cores"])}
        if told["gpus"]:
            has |= {"GPU": float(told["gpus"]), f"{KIND}{told['kind']}": 1.0}
        for _ in range(int(told["count"] or 1)):
            found.append((f"machine {len(found) + 1}", has))
    return found


def stated(trial: float, card: float) -> Callable[[str], Footprint]:
    """A footprint that somebody gives, in GiB, for every kind of card."""
    if trial > card:
        raise UserError(f"--fold-trial {trial:g}: does not fit on a card of {card:g} GiB")
    tensors, context = int((trial - CONTEXT) * GIB), int(CONTEXT * GIB)
    if tensors <= 0:
        raise UserError(f"--fold-trial {trial:g}: is less than CUDA alone takes, about {CONTEXT:g} GiB")
    return lambda kind: Footprint(tensors, context, Card(kind, int(card * GIB)))


def layout(
    there: Sequence[tuple[str, Machine]],
    cpu: float | str,
    gpu: float | str,
    measure: Callable[[str], Footprint] | None = None,
) -> list[Row]:
    """A row for each machine; one that holds no fold trial has a row too."""
    shares = {share.kind: share for share in shares_of([machine for _, machine in there], cpu, gpu, measure)}
    rows = []
    for name, machine in there:
        share = shares.get(kind_of(machine) if gpu != 0 else "")
        slots = 0 if share is None else slots_on(machine, share)
        row: Row = {"machine": name, "gpus": int(cards(machine)), "kind": kind_of(machine), "fold_trials": slots}
        row["cores"] = int(machine.get("CPU", 0))
        if share is not None and slots:
            row |= {"gpu_each": share.gpus, "cores_each": share.cpus, "memory_each": round(share.memory, 3)}
        rows.append(row)
    return rows
