"""The configs to explore: parallel coordinates, a table and learning curves, which the page's scripts connect."""

from html import escape

from analysis.answer.selection import Selection
from analysis.report.figure import FAILED, OTHER, Figure, Markup, Section, axis, sentence
from analysis.report.page.run_data import is_number, steps_label
from search.runs.run_tables import RunTables
from trainable.printing import plural

MOST = 240  # curves that are drawn at once, as in page/configs.js
BAR = """<div id="explorer"><input type="search" id="query" aria-label="filter configs" spellcheck="false"
autocomplete="off" placeholder="filter: {example} winner done"><span id="count"></span>
<button id="clear" hidden>clear the filter</button><button id="compare" hidden></button></div>"""
PARALLEL = """<figure><h3>{title}</h3><div class="scroll"><svg id="parallel" role="img" aria-label="{title}"></svg>
</div><figcaption>{caption}</figcaption></figure>"""
TABLE = """<figure><h3>{title}</h3><div class="scroll" tabindex="0" id="table"></div>
<button id="rows" hidden></button><figcaption>{caption}</figcaption></figure><div id="chosen"></div>"""
SHEET = """<dialog id="sheet"></dialog><div id="hint" hidden></div><noscript>This part needs JavaScript.</noscript>"""


def explorer(tables: RunTables, selection: Selection) -> Section:
    blocks: list[Figure | Markup] = [Markup(BAR.format(example=escape(_example(tables), quote=True)))]
    if _varying(tables):
        blocks.append(_parallel(tables, selection))
    blocks += [_table(tables), *_learning(tables)]
    if selection.notes:
        blocks.append(
            Markup(f"<ul class='notes'>{''.join(f'<li>{escape(each)}</li>' for each in selection.notes)}</ul>")
        )
    curves = "learning curves" if tables.space.trainable.learns else "curves"
    return Section("configs", f"Configs, folds and {curves}", [*blocks, Markup(SHEET)])


def stops(tables: RunTables) -> Section | None:
    """At which step fold trials were stopped, and an example of why; None before the first report."""
    return None if tables.curves.empty else Section("stops", "Early stops", [_stops(tables)])


def _varying(tables: RunTables) -> list[str]:
    return [name for name in tables.parameters if tables.configs[name].map(str).nunique() > 1]


def _example(tables: RunTables) -> str:
    """A filter that this run could use."""
    for name in _varying(tables):
        values = tables.configs[name].dropna()
        if len(values):
            many = values.nunique() > 10 and all(map(is_number, values))
            return f"{name}>{values.astype(float).median():.2g}" if many else f"{name}={values.iloc[0]}"
    return "fold0>0.8"


def _parallel(tables: RunTables, selection: Selection) -> Markup:
    scored = len(selection.assessment.standings)
    title = "Every config at once: drag along an axis to filter"
    caption = (
        "Each line is a config, from the values of its parameters to its expected score at the right: orange the "
        "winner, blue those that cannot be distinguished from it. Click on a line to open its config. "
        f"n = {plural(len(tables.configs), 'config')}, {scored:,} with a score."
    )
    return Markup(PARALLEL.format(title=escape(title, quote=True), caption=escape(caption)))


def _table(tables: RunTables) -> Markup:
    done = int((tables.trials["state"] == "done").sum())
    states = tables.trials["state"].value_counts()
    counted = ", ".join(f"{number:,} {state}" for state, number in states.items()) or "no fold trial started"
    grid = len(tables.configs) * tables.folds
    title = f"{plural(done, 'fold trial')} of {grid:,} ran to full length"
    caption = (
        "Folds show their score at full length, a stronger colour is better, or their progress (▸ running, ‖ paused, "
        "× failed). mean ± sd: folds at full length only; expected: the estimated mean on any folds, shrunk, with "
        "its 95 % interval, a forecast for a config that was paused before it had a full-length score. Click on a "
        "heading to sort, on a config for its folds, reasons and images; tick boxes to "
        f"compare. n: {counted}, {grid - len(tables.trials):,} not started. summary.csv holds all configs."
    )
    return Markup(TABLE.format(title=escape(title), caption=escape(caption)))


def _learning(tables: RunTables) -> list[Figure | Markup]:
    if tables.curves.empty:
        return [Markup("<p>There are no reports yet.</p>")]
    return [_curves(tables)]


def _curves(tables: RunTables) -> Figure:
    """The page's scripts draw the curves, of the configs that a filter leaves."""
    trials = tables.trials[tables.trials["step"] > 0]
    finished, began = int((trials["state"] == "done").sum()), len(trials)
    title = f"{finished:,} of {plural(began, 'fold trial')} ran to the end"
    title += "; marks show where the others were stopped" if finished < began else ""
    caption = "Each line is a fold trial; hover for its config, step, score and reason, click to open its config. "
    caption += f"n = {plural(began, 'fold trial')}."
    if began > MOST:
        caption += f" At most {MOST} of those that the filter leaves are drawn, the winner's and the set's first."
    steps = axis(steps_label(tables), rangemode="tozero")
    layout = {"xaxis": steps, "yaxis": axis(f"{tables.score_label} of the fold")}
    return Figure("curves", title, caption, (), layout, 440)


def _stops(tables: RunTables) -> Figure | Markup:
    """At which step fold trials were stopped."""
    stopped = tables.trials[tables.trials["state"].isin(["paused", "failed"])]
    if stopped.empty:
        return Markup("<p>No fold trial was stopped early.</p>")
    counted = stopped.groupby(["step", "state"]).size().unstack(fill_value=0)
    horizons = stopped["of"].unique()
    of = f" of {horizons[0]}" if len(horizons) == 1 else ""
    if len(counted) == 1:
        step, number = counted.index[0], len(stopped)
        return sentence(f"Fold trials stopped early: {number}, all at step {step}{of}.")
    traces = [
        {
            "type": "bar",
            "name": state,
            "x": [f"{step}" for step in counted.index],
            "y": counted[state].tolist(),
            "marker": {"color": FAILED if state == "failed" else OTHER},
            "hovertemplate": "step %{x}: %{y} " + state + "<extra></extra>",
        }
        for state in counted.columns
    ]
    most = counted.sum(axis=1).idxmax()
    title = f"Step {most}{of} has the most stops: {int(counted.sum(axis=1).max())} of {len(stopped)}"
    example = stopped[stopped["step"] == most]["reason"].iloc[0]
    caption = f"n = {plural(len(stopped), 'stopped fold trial')}. Example of a reason: {example or 'none'}."
    layout = {
        "xaxis": axis("step of the last report", type="category"),
        "yaxis": axis("fold trials"),
        "barmode": "stack",
    }
    return Figure("stops", title, caption, traces, layout, 280)
