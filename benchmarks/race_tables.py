"""The tables of the fold race in docs/foldrace.md, docs/foldrace_measured.md and docs/measured.md, from the result
files; rewrites them there.

python benchmarks/race_tables.py
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


def results(name: str) -> list[Row]:
    return list(json.loads((RESULTS / f"{name}.json").read_text())["results"])


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
