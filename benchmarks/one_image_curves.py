"""The score of a small CNN on single images by kernel, width, depth and regulariser: Fig. 3 of Dröge and Moeller.

It is drawn from the result file of the space single_image.

    python benchmarks/one_image_curves.py [NAME]

draws docs/pictures/one_image_curves.png, for which it needs Chromium, and prints the table of docs/systems.md.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.systems import RESULTS, table
from trainable.config import ImageConfig
from trainable.printing import value_text

NAME, PICTURE = "single_image_cpu2", "one_image_curves"
VARIED = ("kernel", "width", "depth", "beta")
Row = Mapping[str, Any]


def curves(result: Mapping[str, Any]) -> dict[str, dict[str, list[Row]]]:
    """For each varied hyperparameter, the CNNs in which the others have their defaults, by what they see."""
    usual = {name: ImageConfig.model_fields[name].get_default() for name in VARIED}
    cnns = [row for row in result["configs"] if row["method"] == "cnn"]
    complete = [{**row, **{name: usual[name] if row[name] is None else row[name] for name in VARIED}} for row in cnns]
    found: dict[str, dict[str, list[Row]]] = {}
    for varied in VARIED:
        others = [name for name in VARIED if name != varied]
        rows = [row for row in complete if all(row[name] == usual[name] for name in others)]
        rows.sort(key=lambda row: row[varied])
        lines = {(row["inputs"], row["penalised"]) for row in rows if varied != "beta" or row["penalised"]}
        found[varied] = {
            inputs + (f", {penalised} penalised" if penalised else ""): [
                row for row in rows if row["inputs"] == inputs and row["penalised"] in (penalised, None)
            ]
            for inputs, penalised in sorted(lines, key=lambda line: (line[0], line[1] or ""))
        }
    return found


def markdown(result: Mapping[str, Any]) -> str:
    """The figures of the picture."""
    return table(
        [
            {
                "varied": varied,
                "inputs": line,
                f"{result['metric']} at each value": ", ".join(
                    f"{row['score']:.3f} ({value_text(row[varied])})" for row in rows
                ),
            }
            for varied, lines in curves(result).items()
            for line, rows in lines.items()
        ]
    )


def draw(result: Mapping[str, Any]) -> None:
    from plotly.subplots import make_subplots

    from benchmarks.pictures import AMBER, BLUE, GREEN, GREY, figure

    titles = ("kernel", "width", "depth", "beta of the regulariser")
    chart = make_subplots(1, len(VARIED), shared_yaxes=True, horizontal_spacing=0.02, subplot_titles=titles)
    styles = {
        "colour": (BLUE, "solid", "colour"),
        "colour+xy": (AMBER, "solid", "colour and coordinates"),
        "colour, colour penalised": (BLUE, "dot", "colour, regularised in colour"),
        "colour+xy, colour penalised": (GREEN, "dot", "colour and coordinates, regularised in colour"),
        "colour+xy, xy penalised": (AMBER, "dot", "colour and coordinates, regularised in coordinates"),
    }
    named = set[str]()
    for column, (varied, lines) in enumerate(curves(result).items(), 1):
        for line, rows in lines.items():
            colour, dash, name = styles[line]
            chart.add_scatter(
                x=[value_text(row[varied]) for row in rows],
                y=[row["score"] for row in rows],
                error_y={
                    "array": [row["high"] - row["score"] for row in rows],
                    "arrayminus": [row["score"] - row["low"] for row in rows],
                    "color": GREY,
                    "thickness": 4,
                    "width": 0,
                },
                mode="lines+markers",
                line={"color": colour, "dash": dash, "width": 2.5},
                name=name,
                showlegend=name not in named,
                row=1,
                col=column,
            )
            named.add(name)
    chart.update_xaxes(type="category", showgrid=False)
    chart.update_yaxes(tickformat=".2f")
    chart.update_yaxes(title="mIoU", col=1)
    figure(chart, PICTURE, 1100, 460)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default=NAME, help="name of the result file")
    result = json.loads((RESULTS / f"{parser.parse_args().name}.json").read_text())
    draw(result)
    print(markdown(result))
    return 0


if __name__ == "__main__":
    from trainable.exit_codes import run

    run(main)
