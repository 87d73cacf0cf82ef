"""The cost: GPU-seconds by outcome, compared with the full grid, and how to reproduce the run."""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from html import escape
from typing import Any

from analysis.report.figure import FAILED, LINE, OTHER, SET, Figure, Markup, Section, axis, details, duration, table
from search.runs.cost_estimate import estimate_cost
from search.runs.fold_models import decisions
from search.runs.ledger import ledger
from search.runs.run_tables import RunTables
from search.terminal.ledger_table import summary
from trainable.errors import UserError
from trainable.printing import digits, plural

NAMES = {
    "done": "full length",
    "under_way": "since the last report",
    "lost": "lost to faults",
    "pretraining": "pre-training",
}
COLOURS = {"done": SET, "failed": FAILED, "lost": FAILED}


def costs(tables: RunTables) -> Section:
    found = ledger(tables.lines, time.time() if tables.status.driven and not tables.status.ended else None)
    if not found.accounts:
        return Section("costs", "Cost", [Markup("<p>No fold trial has started yet.</p>")])
    seen = estimate_cost(tables.status)
    saved, share = (0.0, 1.0) if seen is None else (seen.saved, seen.share)
    spent = {part: share * seconds / 1e6 for part, seconds in found.totals().items() if seconds}
    device = tables.status.device
    scale, unit = (3600, f"{device}-hours") if sum(spent.values()) >= 3600 else (1, f"{device}-seconds")
    bars = [(NAMES.get(part, part), value / scale, COLOURS.get(part, OTHER)) for part, value in spent.items()]
    bars += [("saved against the grid", saved / scale, LINE)] if saved else []
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": [name for name, _, _ in bars],
        "x": [value for _, value, _ in bars],
        "marker": {"color": [colour for _, _, colour in bars]},
        "text": [digits(value) for _, value, _ in bars],
        "textposition": "auto",
        "hoverinfo": "skip",
        "showlegend": False,
    }
    cost = tables.status.score_table.spent
    rest = max(0.0, share * found.busy / 1e6 - cost)
    against = f", {duration(saved, device)} less than the full grid" if saved else ""
    layout = {"xaxis": axis(unit, rangemode="tozero"), "yaxis": {"type": "category", "autorange": "reversed"}}
    caption = f"Time of the workers by the state of their fold trials. n = {len(found.accounts):,} fold trials. "
    caption += "The cost is the reported time of fold trials, as budgets count it; starting workers and what "
    caption += f"was not reported took {duration(rest, device)} more. {summary(found)}."
    title = f"The search cost {duration(cost, device)}{against}"
    return Section(
        "costs", "Cost", [Figure("costs", title, caption, [trace], layout, 150 + 36 * len(bars)), *_dear(tables)]
    )


def _dear(tables: RunTables) -> list[Markup]:
    """The price, if the space gives a price per hour."""
    price = tables.space.settings.budget.cost_per_gpu_hour
    if price is None:
        return []
    hours = tables.status.score_table.spent / 3600
    return [Markup(f"<p>At {price:g} per {tables.status.device}-hour that is {hours * price:,.2f}.</p>")]


def provenance(tables: RunTables) -> Section:
    try:
        environment = tables.run.environment()
    except UserError as error:
        return Section("provenance", "Provenance", [Markup(f"<p>{escape(str(error))}</p>")])
    rows = [{"what": name, "value": value} for name, value in _facts(tables, environment)]
    space = json.dumps(tables.space.canonical(), indent=2)
    commands = f"{tables.run.resume_command}\npython -m analysis report {tables.run.address}"
    return Section(
        "provenance",
        "Provenance",
        [
            table(rows),
            Markup(f"<h3>Commands to reproduce this</h3><pre>{escape(commands)}</pre>"),
            details("The space as launched", Markup(f"<pre>{escape(space)}</pre>")),
        ],
    )


def _facts(tables: RunTables, environment: dict[str, Any]) -> Iterator[tuple[str, str]]:
    settings = tables.space.settings
    yield "run", tables.run.address
    yield "state", tables.status.state
    yield "data", str(settings.data)
    yield "hash of the data", str(environment.get("data_hash"))
    yield "folds", f"{settings.folds}, seed {settings.fold_seed}"
    yield "scheduler", str(settings.scheduler.name)
    for line in tables.lines:
        if line.kind == "space":
            yield f"changed on {datetime.fromtimestamp(line.at):%Y-%m-%d %H:%M}", "; ".join(line.fields["changes"])
    made = decisions(tables.lines)
    yield "weights", f"keep: {settings.keep}; {plural(len(made.dropped), 'config')} without their weights"
    if made.chosen:
        yield "finished by choice", ", ".join(sorted(made.chosen))
    yield "commit", str(environment.get("commit"))
    yield "python", str(environment.get("python"))
    for name, version in sorted(environment.get("packages", {}).items()):
        yield name, str(version)
    for room, digest in sorted(environment.get("code", {}).items()):
        yield f"hash of {room}/", str(digest)
