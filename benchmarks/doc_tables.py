"""The tables of the documentation on the fold race, on faults and on the driver's limits; rewrites them there from the
result files.

python benchmarks/doc_tables.py
"""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from trainable.printing import say
from trainable.storage.atomic_files import write_text

HOME = Path(__file__).parents[1]
RESULTS = HOME / "benchmarks" / "results"
Row = Mapping[str, Any]

NAMES = {
    "foldrace": "**fold race**",
    "halving": "halving over folds",
    "asha": "asha, one decision per config",
    "ray-asha": "ASHA, each fold a trial",
    "median": "Optuna's median rule",
    "wilcoxon": "Optuna's Wilcoxon rule",
    "random": "random search",
    "grid": "the full grid",
}
PEERS = {
    "ray-asha": "Ray's ASHA",
    "optuna-hyperband": "Optuna's Hyperband",
    "optuna-wilcoxon": "Optuna's Wilcoxon pruner",
    "syne-asha-stopping": "Syne Tune's ASHA, stopping",
    "syne-asha-promotion": "Syne Tune's ASHA, promotion",
    "syne-pasha": "Syne Tune's PASHA",
    "syne-dyhpo": "Syne Tune's DyHPO",
    "smac-intensifier": "SMAC3's intensifier",
}
WORLDS = {
    "mild": "mild crossing",
    "strong": "strong crossing",
    "factorial": "factorial",
    "noisy": "noisy folds",
    "close": "close configs",
}
DATA = {
    "foreign": "foreign tables (12 to 20 configs)",
    "small": "small searches (12)",
    "grid": "the real grid (72)",
    **{name: f"worlds: {label} (72)" for name, label in WORLDS.items()},
}
NO_SET = ("ray-asha",)  # whose set is its winner
BEFORE = "the race of 0.2.0 (one rung at 0.5, `keep` 0.6, forecasts; 5 orders) | 0.333 | 0.0038 | 0.89 | 0.89 | 3.7"
BEFORE_SMALL = "the race of 0.2.0 | 0.44 | 0.003 | 0.75 | 0.75 | -"
FAULTS = {
    "worker killed": "worker killed",
    "fold trial crashes": "fold trial crashes",
    "fold trial hangs": "fold trial hangs",
    "machine killed, another one comes": "machine killed and replaced",
    "machine drained and taken away": "machine drained and removed",
    "any of these": "any of these, overlapping the next",
    "driver killed, launched again": "driver killed and relaunched",
    "links cut": "links between machines cut",
    "storage goes away": "storage goes away for a while",
    "clock jumps": "clock of a machine jumps",
    "disk of a node full": "disk of a machine full",
    "disk full": "disk of the driver full, freed, relaunched",
}
PLACES = ("the best", "the second best", "the third best")
SIZES = ((360, 8), (3000, 64), (20000, 512), (100000, 512), (100000, 10000))  # fold trials and GPUs


def document(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def results(name: str) -> list[Row]:
    return list(document(name)["results"])


def one(rows: Sequence[Row], **wanted: object) -> Row:
    (found,) = (row for row in rows if all(row.get(key) == value for key, value in wanted.items()))
    return found


def table(columns: str, rows: Sequence[str]) -> str:
    return "\n".join([f"| {columns} |", "|---" * len(columns.split(" | ")) + "|", *(f"| {row} |" for row in rows)])


def outcome(label: str, row: Row) -> str:
    """Cost, regret, P(best), and the set if there is one."""
    named = row["set_size"] is not None and row["scheduler"] not in NO_SET
    answer = f"{row['set_coverage']:.2f} | {row['set_size']:.1f}" if named else "- | -"
    return f"{label} | {row['cost']:.3f} | {row['regret']:.4f} | {row['p_best']:.2f} | {answer}"


COLUMNS = "cost | regret | P(best) | set contains the best | set size"
OUTCOMES = f"scheduler | {COLUMNS}"


def summary() -> str:
    """The race on all kinds of data."""
    race = {"scheduler": "foldrace"}
    found = {
        "foreign": one(results("foreign_curves"), tables="all", **race),
        "small": one(results("small_curves"), tables="all", **race),
        "grid": one(results("real_curves"), **race),
        **{name: one(results("replay"), world=name, **race) for name in WORLDS},
    }
    return table(f"data | {COLUMNS}", [outcome(label, found[name]) for name, label in DATA.items()])


def foreign() -> str:
    ours, others = results("foreign_curves"), results("foreign_curves_baselines")
    rows = [outcome(f"fold race, {part}", one(ours, scheduler="foldrace", tables=name)) for name, part in PARTS.items()]
    halving = outcome(NAMES["halving"], one(ours, scheduler="halving", tables="all"))
    rest = [outcome(NAMES[row["scheduler"]], row) for row in others if row["tables"] == "all"]
    return table(OUTCOMES, [*rows, BEFORE, halving, *rest])


PARTS = {"all": "all tables", "odd": "odd", "even": "even"}


def small() -> str:
    race, halving = (one(results("small_curves"), scheduler=each, tables="all") for each in ("foldrace", "halving"))
    return table(OUTCOMES, [outcome(NAMES["foldrace"], race), BEFORE_SMALL, outcome(NAMES["halving"], halving)])


def peers() -> str:
    race = outcome(NAMES["foldrace"], one(results("foreign_curves"), scheduler="foldrace", tables="all"))
    rows = [outcome(PEERS[row["scheduler"]], row) for row in results("peers") if row["scheduler"] in PEERS]
    return table(OUTCOMES, [race, *rows])


def dyhpo() -> str:
    rows = results("peers_dyhpo")
    return table(OUTCOMES, [outcome((NAMES | PEERS)[row["scheduler"]], row) for row in rows])


def sets() -> str:
    race = {"scheduler": "foldrace"}
    single = [
        ("141 foreign tables", one(results("foreign_curves"), tables="all", **race)),
        ("six small searches", one(results("small_curves"), tables="all", **race)),
        ("the real grid, 100 orders", one(results("real_curves"), **race)),
    ]
    rows = [f"{label} | {row['set_coverage']:.2f} | unknown | {row['set_size']:.1f}" for label, row in single]
    for name, label in WORLDS.items():
        row = one(results("coverage"), world=name, **race)
        held = f"{row['set_holds_recorded_best']:.2f} | {row['set_holds_best']:.2f} | {row['set']:.1f}"
        rows.append(f"{row['worlds']} generated worlds: {label} | {held}")
    return table("data | set contains the best on these folds | the best on any folds | set size", rows)


def intervals() -> str:
    rows = []
    for name, label in WORLDS.items():
        row = one(results("coverage"), world=name, scheduler="foldrace")
        columns = ("score", "forecast", "chance", "better")
        rows.append(" | ".join([label, *(f"{row[column]:.2f}" for column in columns)]))
    header = "worlds | interval of a config with scores | of a forecast | claimed to be better | were better"
    return table(header, rows)


def worlds() -> str:
    found, rows = results("replay"), []
    for name, label in WORLDS.items():
        race, halving = (one(found, world=name, scheduler=each) for each in ("foldrace", "halving"))
        chosen = f"{race['cost']:.3f} | {race['p_best']:.2f} | {race['regret']:.4f} | {race['set_coverage']:.2f}"
        rows.append(f"{label} | {chosen} | {race['set_size']:.1f} | {halving['cost']:.3f} | {halving['p_best']:.2f}")
    header = "worlds | cost | P(best) | regret | set contains the best | set size | halving: cost | P(best)"
    return table(header, rows)


def deltas() -> str:
    found = results("deltas")
    values = sorted({float(row["delta"]) for row in found}, reverse=True)
    rows = []
    for data, label in DATA.items():
        cells = [one(found, data=data, delta=value) for value in values]
        rows.append(
            " | ".join([label, *(f"{row['cost']:.3f}, {row['regret']:.4f}, {row['p_best']:.2f}" for row in cells)])
        )
    return table(" | ".join(["cost, regret, P(best)", *(f"`delta` {value:g}" for value in values)]), rows)


def real() -> str:
    rows = []
    for row in results("real_curves"):
        name, held = row["scheduler"], f"{row['set_coverage']:.2f} | {row['set_size']:.1f}"
        best = f"{row['p_best']:.2f} | {row['p_top3']:.2f} | {row['regret']:.4f}"
        held = "- | -" if name in NO_SET else held
        rows.append(f"{NAMES[name]} | {row['cost']:.2f} | {row['wall'] / 60:.0f} min | {best} | {held}")
    header = "scheduler | cost | time | P(best) | P(top 3) | regret | set contains the best | set size"
    return table(header, rows)


def faults() -> str:
    """What each kind of fault costs, and what no fault did."""
    rows = {row["kind"]: row for row in document("chaos_cpu2")["summary"]}
    every = rows["all"]
    lost = f"{every['lost']} reports were lost and {every['doubled']} recorded twice"
    done = (
        f"The searches, {every['searches']} in all, survived {every['survived']} of {every['faults']} faults: {lost},\n"
        f"{every['decided otherwise']} decisions changed, and {every['winner kept']} searches kept their winner."
    )
    lines = [
        f"{name} | {rows[kind]['faults']} | {rows[kind]['wall s per fault']:.1f} s"
        for kind, name in FAULTS.items()
        if kind in rows
    ]
    return f"{done}\n\n{table('fault | count | time lost, each', lines)}"


def scale() -> str:
    """One driver of the race on simulated clusters."""
    runs = {
        (row["fold_trials"], row["gpus"]): row
        for row in document("scale_cpu2")["runs"]
        if row["scheduler"] == "foldrace"
    }
    lines = []
    for (fold_trials, gpus), row in ((size, runs[size]) for size in SIZES):
        most = f"{round(row['most_a_second'], -2):,.0f} per second"
        figures = f"{row['decision_ms']:.2f} ms | {most} | {100 * row['waits']:.1g} % | {row['over_ideal']:.2f}"
        lines.append(f"{fold_trials:,} | {gpus:,} | {figures} | {PLACES[row['winner_place']]}")
    columns = "fold trials | GPUs | per decision | the driver could make | GPUs wait for decisions"
    return table(f"{columns} | time to the winner relative to perfect packing | the winner is", lines)


BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "docs/foldrace.md": {"summary": summary},
    "docs/foldrace_measured.md": {
        "foreign": foreign,
        "peers": peers,
        "dyhpo": dyhpo,
        "small": small,
        "worlds": worlds,
        "sets": sets,
        "intervals": intervals,
        "deltas": deltas,
    },
    "docs/measured.md": {"real curves": real},
    "docs/faults.md": {"faults": faults},
    "docs/scaling.md": {"scale": scale},
}


def quoted(page: str, name: str) -> str:
    """The table between the two comments of this name."""
    (found,) = re.findall(rf"<!-- {name} -->\n(.*?)\n<!-- end of {name} -->", (HOME / page).read_text(), re.S)
    return str(found)


def main() -> int:
    for page, blocks in BLOCKS.items():
        text = (HOME / page).read_text()
        for name, made in blocks.items():
            block = f"<!-- {name} -->\n{made()}\n<!-- end of {name} -->"
            text = re.sub(
                rf"<!-- {name} -->\n.*?<!-- end of {name} -->", lambda _, block=block: block, text, flags=re.S
            )
        write_text(HOME / page, text)
        say(f"{page}: written")
    return 0


if __name__ == "__main__":
    from trainable.exit_codes import run

    run(main)
