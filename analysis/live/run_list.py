"""The list of all runs: a row for each, which is renewed by itself, and the line above a run's report."""

import math
from collections.abc import Iterable
from html import escape
from urllib.parse import quote

from analysis.live.followed_run import Snapshot
from analysis.report.figure import Markup, Section, duration
from analysis.report.page.page import Page
from trainable.printing import deviation, digits, plural

COLUMNS = ("", "run", "state", "fold trials", "best config", "mean ± sd", "device time", "left", "configs", "scheduler")
NAMES = {"waiting": "not started"}


def list_page(root: str, snapshots: Iterable[Snapshot], problem: str) -> Page:
    rows = "".join(row(each) for each in in_order(snapshots))
    head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
    empty = problem or f"There is no run in {root} yet."
    html = (
        f'<form action="/compare"><button>compare the ticked runs</button>'
        f'<div class="scroll"><table class="runs"><thead><tr>{head}</tr></thead>'
        f'<tbody id="runs">{rows}</tbody></table></div><p class="more" id="none"{" hidden" if rows else ""}>'
        f"{escape(empty)}</p></form>"
    )
    return Page("Runs", root, [Section("runs", "", [Markup(html)])])


def in_order(snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    """Running ones first, then by name."""
    return sorted(snapshots, key=lambda each: (not each.running, each.name))


def row(run: Snapshot) -> str:
    name, link = escape(run.name), escape(quote(run.name, safe=""), quote=True)
    box = f'<input type="checkbox" name="run" value="{escape(run.name, quote=True)}" aria-label="compare {name}">'
    first = f'<tr data-run="{link}"><td>{box}</td><td><a href="/run/{link}">{name}</a></td>'
    if run.problem:
        return f'{first}<td class="failed" colspan="{len(COLUMNS) - 2}">{escape(run.problem)}</td></tr>'
    if run.space is None:
        return f'{first}<td class="more" colspan="{len(COLUMNS) - 2}">being read</td></tr>'
    cells = [_state(run) + _left_out(run), _bar(run), f'<span class="mono">{escape(run.leader)}</span>', _mean(run)]
    cells += [_spent(run), _left(run), f"{run.configs:,}", escape(_scheduler(run))]
    return first + "".join(f"<td>{each}</td>" for each in cells) + "</tr>"


def strip(run: Snapshot) -> str:
    """What is known of a run at once, while its report is being renewed."""
    if run.problem:
        return f'<span class="failed">{escape(run.problem)}</span>'
    if run.space is None:
        return "being read"
    counted = ", ".join(f"{number:,} {NAMES.get(state, state)}" for state, number in run.counts if number)
    leader = f'best <span class="mono">{escape(run.leader)}</span> {_mean(run)}' if run.leader else "no score yet"
    left = f"{_left(run)} left" if _left(run) else ""
    parts = [_state(run) + _left_out(run), _bar(run), escape(counted), leader, _spent(run), left]
    return "".join(f"<span>{each}</span>" for each in parts if each)


def _state(run: Snapshot) -> str:
    kind = "running" if run.running else "ended" if run.state.startswith("ended") else "stopped"
    word = {"running": "running", "ended": "ended", "stopped": run.state.split(":")[0]}[kind]
    return f'<span class="state {kind}" title="{escape(run.state, quote=True)}">{escape(word)}</span>'


def _left_out(run: Snapshot) -> str:
    if not run.left_out:
        return ""
    title = escape("\n".join(run.left_out), quote=True)
    return f' <span class="failed" title="{title}">{plural(len(run.left_out), "record")} left out</span>'


def _bar(run: Snapshot) -> str:
    """Fold trials by state, as shares of all."""
    total = sum(number for _, number in run.counts) or 1
    parts = "".join(
        f'<i class="{state}" style="width:{100 * number / total:.2f}%"></i>' for state, number in run.counts if number
    )
    title = ", ".join(f"{number:,} {NAMES.get(state, state)}" for state, number in run.counts)
    done = dict(run.counts).get("done", 0)
    return f'<span class="bar" title="{escape(title, quote=True)}">{parts}</span>{done:,} of {total:,}'


def _mean(run: Snapshot) -> str:
    if math.isnan(run.mean):
        return "–"
    folds = run.space.settings.folds if run.space else 0
    part = f' <span class="more">on {plural(run.folds, "fold")}</span>' if run.folds < folds else ""
    return digits(run.mean) + ("" if math.isnan(run.sd) else f" ± {deviation(run.sd, run.mean)}") + part


def _spent(run: Snapshot) -> str:
    return escape(duration(run.spent, run.device))


def _left(run: Snapshot) -> str:
    """How long a run will take; empty if that is unknown."""
    if not run.running or run.estimate is None or not run.estimate.most:
        return ""
    least, most = (escape(duration(each, run.device)) for each in (run.estimate.least, run.estimate.most))
    number, _, unit = least.rpartition(" ")
    return least if least == most else f"{number if most.endswith(unit) else least} to {most}"


def _scheduler(run: Snapshot) -> str:
    return "" if run.space is None else run.space.settings.scheduler.name
