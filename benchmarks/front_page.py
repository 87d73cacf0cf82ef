"""The figures on the README's front page, from the result files; rewrites them in README.md.

    python benchmarks/front_page.py

A system without a result is shown as not measured yet. When it has one (benchmarks/systems.py writes it), name the
file in SYSTEMS and run this again.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from spaces.load import load_space
from spaces.summary import condition_text
from trainable.printing import say
from trainable.storage.atomic_files import write_text

HOME = Path(__file__).parents[1]
README, RESULTS = HOME / "README.md", HOME / "benchmarks" / "results"
COLUMNS = ("system", "command", "data", "ours", "published", "what differs")
NOT_YET = "not measured yet"
COMPARED = {"foldrace": "**Fold race**", "halving": "halving over folds", "asha": "ASHA", "random": "random search"}


@dataclass(frozen=True)
class System:
    """``space`` is its shipped space; ``result`` is the name of its result file, if it has been measured."""

    title: str
    page: str
    space: str
    data: str
    differs: str
    result: str | None = None


SYSTEMS = (
    System(
        "U-Net on image and scribble, from dense masks",
        "docs/measured.md#u-net-on-image-and-scribble",
        "full_grid",
        "scribble challenge, 228 photographs",
        "theirs: a search of 72 configs before this project; EfficientNet-B2 with attention from random weights, "
        "480x352, 12,000 steps on a GPU",
        "test1_cpu2",
    ),
    System(
        "U-Net family, with and without pre-training",
        "docs/systems.md#the-u-net-family-with-and-without-self-supervised-pre-training",
        "unet_family",
        "scribble challenge, 228 photographs",
        "theirs: 1,000 epochs at 500x375, networks four times as wide, unknown test images",
        "unet_family_cpu2",
    ),
    System(
        "Each image from its own scribbles alone",
        "docs/systems.md#one-image-at-a-time",
        "single_image",
        "scribble challenge, 228 photographs",
        "theirs: other images (ScribbleSup) with longer scribbles of more classes; ours was tuned on 60 of these",
        "single_image_cpu2",
    ),
    System(
        "A textbook's networks and losses",
        "docs/systems.md#a-textbooks-networks-and-losses",
        "field_guide",
        "scribble challenge, 228 photographs",
        "theirs: ADE20K, without scribbles, many more classes",
        "field_guide_cpu2",
    ),
    System(
        "Scribbles alone, without a single mask",
        "docs/systems.md#scribbles-alone-without-a-single-mask",
        "scribbles_alone",
        "ACDC, the 80 patients of its training part",
        "theirs (Alshewaier, Qin and Sun): ExMod with CycleMix, means on test images of their own",
        "cardiac_acdc_cpu2",
    ),
)


def systems() -> str:
    """The table of all systems."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *map(_row, SYSTEMS)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def race() -> str:
    """What the race costs on real curves, in a sentence."""
    found = _result("real_curves")
    rows = {row["scheduler"]: row for row in found["results"]}
    figures = [f"{name} {rows[key]['cost']:.2f} and {rows[key]['regret']:.5f}" for key, name in COMPARED.items()]
    size = f"{found['grid']['configs']} configs x {found['grid']['folds']} folds"
    return (
        f"Pruning, replayed in {found['repeats']} random orders on the curves of a complete grid of {size} on real "
        "images: training time relative to the grid, and mIoU lost to the best config. "
        f"{'; '.join(figures)}. [All schedulers](docs/measured.md#on-real-curves)."
    )


BLOCKS = {"systems": systems, "race": race}


def _row(system: System) -> tuple[str, ...]:
    name = f"[{system.title}]({system.page})"
    if system.result is None:
        command, ours, published = f"python -m search launch {system.space}", NOT_YET, _referred(system.space)
    else:
        result = _result(system.result)
        command = str(result["command"]).split(" --")[0]
        ours, published = _search(result)
        ours += f" ([file](benchmarks/results/{system.result}.json))"
    return name, f"`{command}`", system.data, ours, published, system.differs


def _search(result: Mapping[str, Any]) -> tuple[str, str]:
    """The winner of a search, from benchmarks/systems.py, and the best published figure beside its own config's."""
    winner = next(row for row in result["configs"] if row["config"] == result["winner"])
    metric, fixed = result["metric"], result["fixed"]
    varied = [
        name for name in result["parameters"] if len({str(row[name]) for row in result["configs"]} - {"None"}) > 1
    ]
    setting = [str(winner[name]) for name in varied if isinstance(winner[name], str)]
    setting += [f"{fixed['size']}"] if "size" in fixed else []
    setting += [f"{steps:,} steps"] if (steps := fixed.get("steps", winner.get("steps"))) else []
    known = [row for row in result["published"] if row["metric"] == metric]
    drawn = next((row["units"] for row in known if row.get("units")), "images")  # older files are all over images
    if result["corrected"]:
        complete = sum(row["folds"] == result["folds"] for row in result["configs"])
        drawn += f"; {result['corrected']['score']:.3f} corrected for the selection among {complete} complete configs"
    ours = _figure(metric, winner["score"], winner["low"], winner["high"], drawn, [*setting, _over(result["folds"])])
    if not known:
        return ours, ""
    best = max(known, key=lambda row: float(row["published"]))
    if best["where"] == "all":  # configs, of which the winner is beside it
        return ours, _published(best["published"])
    beside = best["state"] if best["ours"] is None else f"ours {best['ours']:.3f}"
    return ours, f"{_published(best['published'])} ({best['where']}; {beside})"


def _referred(space: str) -> str:
    """The best published figure of a space that has not been measured."""
    settings = load_space(space).settings
    metric = settings.metric.name
    known = [each for each in settings.references if metric in each.scores]
    best = max(known, key=lambda each: each.scores[metric])
    return f"{metric} {_published(best.scores[metric])} ({condition_text(best.where)})"


def _figure(metric: str, score: float, low: float, high: float, drawn: str, setting: Sequence[str]) -> str:
    return f"**{metric} {score:.3f}** ({low:.3f} to {high:.3f}, 95 % over {drawn}): {', '.join(setting)}"


def _published(figure: float) -> str:
    """As it was published, with two digits at least."""
    return max(f"{figure:g}", f"{figure:.2f}", key=len)


def _over(folds: int) -> str:
    return f"{folds} folds"


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def main() -> int:
    text = README.read_text()
    for name, made in BLOCKS.items():
        block = f"<!-- {name} -->\n{made()}\n<!-- end of {name} -->"
        text = re.sub(rf"<!-- {name} -->\n.*?<!-- end of {name} -->", lambda _, block=block: block, text, flags=re.S)
    write_text(README, text)
    say(f"{README}: written")
    return 0


if __name__ == "__main__":
    from trainable.exit_codes import run

    run(main)
