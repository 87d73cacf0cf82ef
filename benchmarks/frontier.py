"""Draw cost against regret, in docs/pictures: of the schedulers on the foreign tables (frontier.svg), and of the fold
race by its delta on all kinds of recorded studies (deltas.svg).

python benchmarks/frontier.py
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.doc_tables import DATA, NAMES, PEERS, Row, results

HOME = Path(__file__).parent
WIDTH, HEIGHT, LEFT, BOTTOM = 760, 420, 70, 370
MOST_REGRET = 0.025
RACE, OURS, OTHERS = "#2a9d5c", "#2b6cb0", "#b7791f"
# Where labels are close to each other: down from the usual place, in pixels
SHIFT = {
    "foldrace": 16,
    "ray-asha": -4,
    "halving": -2,
    "syne-asha-stopping": 8,
    "asha": 16,
    "random": 8,
    "optuna-hyperband": 10,
    "median": -8,
    "optuna-wilcoxon": -28,
}


def points() -> list[tuple[str, str, Row]]:
    """The key for ``SHIFT``, the colour and the row of each scheduler."""
    ours = [row for name in ("foreign_curves", "foreign_curves_baselines") for row in results(name)]
    found = [
        (str(row["scheduler"]), RACE if row["scheduler"] == "foldrace" else OURS, row)
        for row in ours
        if row["tables"] == "all"
    ]
    return [*found, *((str(row["scheduler"]), OTHERS, row) for row in results("peers") if row["scheduler"] in PEERS)]


def picture(found: Sequence[tuple[str, str, Row]]) -> str:
    """Costs from 0.2 to 1, regrets from 0 to MOST_REGRET, best at the lower left."""
    text = ['<g font-family="Helvetica, Arial, sans-serif" font-size="13" fill="#333">']
    for share in (0.2, 0.4, 0.6, 0.8):
        text.append(f'<text x="{across(share):.0f}" y="{BOTTOM + 20}" text-anchor="middle">{share:.0%}</text>')
    for regret in (0.0, 0.01, 0.02):
        at = up(regret)
        text.append(f'<path d="M{LEFT} {at:.0f}H{WIDTH - 20}" stroke="#d9dce1"/>')
        text.append(f'<text x="{LEFT - 8}" y="{at + 4:.0f}" text-anchor="end">{regret:g}</text>')
    middle = (LEFT + WIDTH) // 2
    text.append(f'<text x="{middle}" y="{BOTTOM + 42}" text-anchor="middle">cost, share of the full grid</text>')
    text.append('<text x="12" y="20">mean regret</text>')
    for place, (colour, label) in enumerate(((RACE, "fold race"), (OURS, "built in"), (OTHERS, "other packages"))):
        text.append(f'<circle cx="{WIDTH - 150}" cy="{20 + 20 * place}" r="5" fill="{colour}"/>')
        text.append(f'<text x="{WIDTH - 138}" y="{25 + 20 * place}">{label}</text>')
    for key, colour, row in found:
        x, y = across(float(row["cost"])), up(float(row["regret"]))
        name = PEERS[key] if colour == OTHERS else NAMES[key].strip("*")
        label = f"{name}, P(best) {float(row['p_best']):.2f}"
        text.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="5" fill="{colour}"/>')
        aside = f'x="{x + 9:.0f}"' if row["cost"] < 0.8 else f'x="{WIDTH - 20}" text-anchor="end"'
        text.append(f'<text {aside} y="{y - 4 + SHIFT.get(key, 0):.0f}">{label}</text>')
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', *text, "</g>", "</svg>", ""])


def across(cost: float) -> float:
    return LEFT + (cost - 0.2) / 0.8 * (WIDTH - LEFT - 40)


def up(regret: float) -> float:
    return BOTTOM - min(regret, MOST_REGRET) / MOST_REGRET * (BOTTOM - 40)


# One panel each: the column, its name, the power of its scale, and the values that get a line, from bottom to top
PANELS = (
    ("regret", "mean regret (square root)", 0.5, (0.0, 0.0001, 0.0005, 0.001, 0.0025)),
    ("p_best", "P(best)", 1.0, (0.7, 0.8, 0.9, 1.0)),
)
COLOURS = ("#d1495b", "#b7791f", "#7b3fa0", "#1d3557", "#2b6cb0", "#2a9d5c", "#4a9fb5", "#7a7a7a")
DEFAULT = 0.1
PANEL = 380  # its width


def deltas(rows: Sequence[Row]) -> str:
    """A line for each kind of study, whose points are the values of delta; the default is filled."""
    text = ['<g font-family="Helvetica, Arial, sans-serif" font-size="13" fill="#333">']
    for number, panel in enumerate(PANELS):
        text += _panel(rows, LEFT + number * (PANEL + 50), *panel)
    for place, (colour, label) in enumerate(zip(COLOURS, DATA.values(), strict=True)):
        x, y = LEFT + 2 * PANEL + 40, 60 + 24 * place
        text.append(f'<circle cx="{x}" cy="{y - 4}" r="5" fill="{colour}"/><text x="{x + 12}" y="{y}">{label}</text>')
    size = f'width="{2 * PANEL + 340}" height="{HEIGHT}" viewBox="0 0 {2 * PANEL + 340} {HEIGHT}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', *text, "</g>", "</svg>", ""])


def _panel(
    rows: Sequence[Row], left: int, column: str, name: str, power: float, lines: tuple[float, ...]
) -> Iterator[str]:
    low, high = lines[0], lines[-1]

    def at(cost: float) -> float:
        return left + (cost - 0.2) / 0.35 * (PANEL - 40)

    def up_to(value: float) -> float:
        return BOTTOM - ((value - low) / (high - low)) ** power * (BOTTOM - 40)

    yield f'<text x="{left - 40}" y="20">{name}</text>'
    for share in (0.2, 0.3, 0.4, 0.5):
        yield f'<text x="{at(share):.0f}" y="{BOTTOM + 20}" text-anchor="middle">{share:.0%}</text>'
    for value in lines:
        yield f'<path d="M{left} {up_to(value):.0f}h{PANEL - 40}" stroke="#d9dce1"/>'
        yield f'<text x="{left - 8}" y="{up_to(value) + 4:.0f}" text-anchor="end">{value:g}</text>'
    middle = left + PANEL // 2 - 20
    yield f'<text x="{middle}" y="{BOTTOM + 42}" text-anchor="middle">cost, share of the full grid</text>'
    for colour, data in zip(COLOURS, DATA, strict=True):
        points = [row for row in rows if row["data"] == data]
        places = [(at(float(row["cost"])), up_to(float(row[column])), row["delta"] == DEFAULT) for row in points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places)
        yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        for x, y, default in places:
            fill, radius = (colour, 6) if default else ("#fff", 3)
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="{colour}"/>'


def main() -> None:
    pictures = HOME.parent / "docs" / "pictures"
    (pictures / "frontier.svg").write_text(picture(points()))
    (pictures / "deltas.svg").write_text(deltas(results("deltas")))


if __name__ == "__main__":
    main()
