"""The live view as text: a snapshot of a run, its clock and the size of the terminal give lines that never wrap.

Ranks, reasons and estimates take time to compute and are kept in a ``Snapshot``; drawing it is cheap enough to update
the clock several times a second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from search.runs.cost_estimate import CostEstimate, estimate_cost
from search.runs.fold_states import STATES
from search.runs.status import Status
from search.terminal.columns import Parameter, header, layout_of, parameters_of, row
from search.terminal.config_rows import ConfigTable, config_table
from search.terminal.glyphs import NAMES, STYLES, UNICODE, Glyphs, fit
from trainable.printing import deviation, digits, plural, value_text

MAX_CONFIGS = 12
OTHER_LINES = 9  # lines above and below the configs
LABEL = 9
HOUR = 3600.0


@dataclass(frozen=True)
class Size:
    """The size of a terminal, and the symbols that it can show."""

    width: int
    height: int
    glyphs: Glyphs = UNICODE

    @property
    def configs(self) -> int:
        """How many configs fit; one line stays free for the cursor."""
        return max(1, min(MAX_CONFIGS, self.height - OTHER_LINES - 1))


@dataclass(frozen=True)
class Snapshot:
    """Everything that is shown of a run except its clock."""

    title: str
    state: str
    folds: int
    counts: Mapping[str, int]
    spent: float
    budget: float | None
    workers: int
    estimate: CostEstimate | None
    field: ConfigTable
    parameters: tuple[Parameter, ...]
    values: Mapping[str, Mapping[str, object]]
    device: str = "GPU"


def take_snapshot(status: Status, title: str, most: int = MAX_CONFIGS) -> Snapshot:
    score_table = status.score_table
    counts = {state: status.count(state) for state in STATES}
    return Snapshot(
        title,
        status.state,
        score_table.folds,
        counts | {"waiting": len(score_table.entrants) * score_table.folds - sum(counts.values())},
        score_table.spent,
        score_table.budget,
        status.workers,
        estimate_cost(status),
        config_table(status, most),
        parameters_of(score_table.entrants.values()),
        {config: entrant.parameters for config, entrant in score_table.entrants.items()},
        status.device,
    )


def draw(snapshot: Snapshot, elapsed: float, size: Size, notice: str = "") -> list[Text]:
    """The lines of a frame, none wider than the terminal; their number depends only on the configs."""
    width, glyphs = size.width, size.glyphs
    shown = snapshot.field.shown
    longest = max((len(config) for config in snapshot.values), default=0)
    layout = layout_of(len(snapshot.values), longest, snapshot.parameters, snapshot.folds, width, glyphs)
    return [
        _title(snapshot, elapsed, width, glyphs, notice),
        _bar(snapshot.estimate, width, glyphs),
        _facts(f"{snapshot.device} time", _spending(snapshot), width, glyphs),
        _facts("leader", _leader(snapshot, glyphs), width, glyphs),
        _facts("folds", _counted(snapshot.counts), width, glyphs),
        Text(),
        header(layout, width, glyphs),
        *(row(layout, each, snapshot.values[each.config], width, glyphs) for each in shown),
        _hidden(snapshot.field, width, glyphs),
        _legend(width, glyphs),
    ]


def clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _title(snapshot: Snapshot, elapsed: float, width: int, glyphs: Glyphs, notice: str) -> Text:
    going_well = snapshot.state == "running" or snapshot.state.startswith("ended: every")
    style = "bold cyan" if going_well and not notice else "bold yellow"
    time = clock(elapsed)
    if snapshot.estimate is not None and snapshot.estimate.most and snapshot.state == "running":
        time += f" {glyphs.dot} {_remaining(snapshot.estimate, snapshot.workers)} left"
    state = fit(notice or snapshot.state, max(0, width - cell_len(time) - 2), glyphs)
    room = width - cell_len(state) - cell_len(time) - 4
    size = f"{plural(len(snapshot.values), 'config')} {glyphs.times} {plural(snapshot.folds, 'fold')}"
    left = fit(f"{snapshot.title}, {size}", room, glyphs)
    gap = " " * (width - cell_len(left) - cell_len(state) - cell_len(time) - 2)
    return _cropped(Text.assemble((left, "bold"), gap, (state, style), "  ", time), width)


def _bar(estimate: CostEstimate | None, width: int, glyphs: Glyphs) -> Text:
    """The cost of the full grid as a bar: spent, at most remaining, and saved."""
    grid = 0.0 if estimate is None else estimate.grid
    if estimate is None or not grid:
        return Text(glyphs.bar[1] * width, style="dim")
    spent = round(width * estimate.spent / grid)
    saved = min(round(width * estimate.saved / grid), width - spent)
    parts = ((spent, "green"), (width - spent - saved, "cyan"), (saved, "dim"))
    return Text.assemble(*((sign * count, style) for sign, (count, style) in zip(glyphs.bar, parts, strict=True)))


def _spending(snapshot: Snapshot) -> list[str]:
    estimate = snapshot.estimate
    limit = "" if snapshot.budget is None else f" of a budget of {hours(snapshot.budget)}"
    spent = f"{hours(snapshot.spent)} spent{limit}"
    if estimate is None:
        return [spent, "remaining time is estimated after the first report"]
    saved = f"{hours(estimate.saved)} saved of {hours(estimate.grid)}"
    if not estimate.most:
        return [spent, saved, "nothing remaining"]
    return [spent, saved, f"{_between(hours(estimate.least), hours(estimate.most))} remaining"]


def _remaining(estimate: CostEstimate, workers: int) -> str:
    """The remaining wall time if as many workers stay busy as before."""
    at_once = estimate.share * max(1, workers)
    least, most = (clock(seconds / at_once) for seconds in (estimate.least, estimate.most))
    return f"about {_between(least, most)}"


def _between(least: str, most: str) -> str:
    number, _, unit = least.partition(" ")
    return least if least == most else f"{number if unit and most.endswith(unit) else least} to {most}"


def hours(seconds: float) -> str:
    """Hours of a device, or seconds if there are few of them."""
    return f"{seconds:.0f} s" if seconds < HOUR / 20 else f"{seconds / HOUR:.2f} h"


def _leader(snapshot: Snapshot, glyphs: Glyphs) -> list[str]:
    first = next((each for each in snapshot.field.shown if each.rank == 1), None)
    if first is None:
        return ["no config can be ranked yet"]
    done = sum(cell.state == "done" for cell in first.cells)
    parts = [first.config]
    if first.mean is not None:
        spread = "" if first.sd is None else f" {glyphs.spread} {deviation(first.sd, first.mean)}"
        parts.append(f"{digits(first.mean)}{spread} on {done} fold" + "s" * (done > 1))
    values, names = snapshot.values[first.config], (each.name for each in snapshot.parameters)
    return [*parts, *(f"{name} {value_text(values[name])}" for name in names if name in values)]


def _counted(counts: Mapping[str, int]) -> list[str]:
    return [f"{count} {NAMES.get(state, state)}" for state, count in counts.items()]


def _facts(label: str, facts: Sequence[str], width: int, glyphs: Glyphs) -> Text:
    """As many facts as fit; the first is cut if even it does not."""
    text = fit(facts[0], max(0, width - LABEL), glyphs)
    for fact in facts[1:]:
        longer = f"{text} {glyphs.dot} {fit(fact, width, glyphs)}"
        if cell_len(longer) > width - LABEL:
            break
        text = longer
    return _cropped(Text.assemble((label.ljust(LABEL), "dim"), text), width)


def _hidden(field: ConfigTable, width: int, glyphs: Glyphs) -> Text:
    count = sum(number for _, number in field.hidden)
    states = ", ".join(f"{number} {NAMES.get(state, state)}" for state, number in field.hidden)
    return Text(fit(f"and {count} more: {states}", width, glyphs) if count else "", style="dim")


def _legend(width: int, glyphs: Glyphs) -> Text:
    text = Text()
    for state in (*STATES, "waiting"):
        sign = glyphs.running if state == "running" else glyphs.of(state)
        name = NAMES.get(state, state)
        if text.cell_len + cell_len(sign) + len(name) + 1 > width:
            break
        text.append(sign, STYLES[state]).append(f" {name}  ", "dim")
    text.rstrip()
    return _cropped(text, width)


def _cropped(text: Text, width: int) -> Text:
    text.truncate(width)
    text.no_wrap = True
    return text
