"""The output of the ledger in seconds: tables, CSV rows and a JSON document."""

from collections.abc import Mapping
from typing import Any

from search.runs.ledger import PARTS, Ledger
from trainable.printing import digits, plural

COLUMNS = (
    "config",
    "fold",
    "state",
    "kept",
    "under_way",
    "lost",
    "overhead",
    "busy",
    "unseen",
    "jobs",
    "faults",
    "pretraining",
)


def document(found: Ledger) -> dict[str, Any]:
    """The JSON document."""
    return {
        "busy": found.busy / 1e6,
        "parts": {part: spent / 1e6 for part, spent in found.totals().items()},
        "unseen": found.unseen / 1e6,
        "wall": found.wall / 1e6,
        "workers": found.workers,
        "earlier_rules": bool(found.earlier_rules),
        "cut_off": {"jobs": found.cut, "seconds_at_most": found.unknown / 1e6},
        "trials": rows(found),
    }


def rows(found: Ledger) -> list[dict[str, Any]]:
    """One row per fold trial that was ever assigned."""
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
            "pretraining": account.pretraining / 1e6,
        }
        for (config, fold), account in sorted(found.accounts.items())
    ]


def table(found: Ledger) -> list[dict[str, str]]:
    """The totals and the share of each part, then each config, the most expensive first."""
    totals = found.totals()
    parts = [part for part in PARTS if totals[part]]
    configs = sorted(found.of_configs().items(), key=lambda each: -sum(each[1].values()))

    def row(name: str, spent: Mapping[str, int]) -> dict[str, str]:
        columns = {**{part: spent[part] for part in parts}, "busy": sum(spent.values())}
        return {"config": name, **{part: digits(value / 1e6) for part, value in columns.items()}}

    shares = {part: f"{totals[part] / found.busy:.1%}" for part in parts}
    return [row("all", totals), {"config": "share", **shares}, *(row(name, spent) for name, spent in configs)]


def summary(found: Ledger) -> str:
    """One line with the totals and what is uncertain about them."""
    full = found.workers * found.wall
    text = f"busy {found.busy / 1e6:.0f} s of {plural(found.workers, 'worker')} x {found.wall / 1e6:.0f} s"
    text += f" ({(found.busy - found.unseen) / full:.0%})" if full else ""
    if found.unseen:
        text += f"; {digits(found.unseen / 1e6)} s of it while no driver was running"
    if found.cut:
        text += f"; {plural(found.cut, 'job')} ended with the driver, counted up to its last record"
        text += f" (at most {found.unknown / 1e6:.0f} s are missing)" if found.unknown else ""
    return f"{text}; {found.earlier_rules}" if found.earlier_rules else text
