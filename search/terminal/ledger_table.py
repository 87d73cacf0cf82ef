"""The ledger as it is printed: in seconds, as tables for people and in full for machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.runs.ledger import PARTS, Ledger

COLUMNS = ("config", "fold", "state", "kept", "under_way", "lost", "overhead", "busy", "unseen", "jobs", "faults")


def document(found: Ledger) -> dict[str, Any]:
    """For JSON: seconds, as everywhere."""
    return {
        "busy": found.busy / 1e6,
        "parts": {part: spent / 1e6 for part, spent in found.totals().items()},
        "unseen": found.unseen / 1e6,
        "wall": found.wall / 1e6,
        "workers": found.workers,
        "cut_off": {"jobs": found.cut, "seconds_at_most": found.unknown / 1e6},
        "trials": rows(found),
    }


def rows(found: Ledger) -> list[dict[str, Any]]:
    """A row for each fold trial that was ever handed out."""
    return [
        {
            "config": config,
            "fold": fold,
            "state": account.state,
            "kept": account.kept / 1e6,
            "under_way": account.under_way / 1e6,
            "lost": account.lost / 1e6,
            "overhead": account.overhead / 1e6,
            "busy": account.busy / 1e6,
            "unseen": account.unseen / 1e6,
            "jobs": account.jobs,
            "faults": account.faults,
        }
        for (config, fold), account in sorted(found.accounts.items())
    ]


def table(found: Ledger) -> list[dict[str, str]]:
    """What all of it comes to and the share of each part, then each config, the dearest first."""
    totals = found.totals()
    parts = [part for part in PARTS if totals[part]]
    configs = sorted(found.of_configs().items(), key=lambda each: -sum(each[1].values()))

    def row(name: str, spent: Mapping[str, int]) -> dict[str, str]:
        told = {**{part: spent[part] for part in parts}, "busy": sum(spent.values())}
        return {"config": name, **{part: f"{value / 1e6:.1f}" for part, value in told.items()}}

    shares = {part: f"{totals[part] / found.busy:.1%}" for part in parts}
    return [row("all", totals), {"config": "share", **shares}, *(row(name, spent) for name, spent in configs)]


def summary(found: Ledger) -> str:
    """One line for people, and what cannot be known."""
    full = found.workers * found.wall
    told = f"busy {found.busy / 1e6:.0f} s of {found.workers} workers x {found.wall / 1e6:.0f} s"
    told += f" ({(found.busy - found.unseen) / full:.0%})" if full else ""
    if found.unseen:
        told += f"; {found.unseen / 1e6:.1f} s of it while no driver watched"
    if found.cut:
        told += f"; {found.cut} jobs were cut off with their driver and count until its last record"
        told += f" (at most {found.unknown / 1e6:.0f} s are missing)" if found.unknown else ""
    return told
