"""Draw cost against regret of the schedulers in results/foreign_curves*.json: docs/pictures/frontier.svg.

python benchmarks/frontier.py
"""

import json
from pathlib import Path

HOME = Path(__file__).parent
WIDTH, HEIGHT, LEFT, BOTTOM = 640, 360, 70, 310
MOST_REGRET = 0.025


def picture(rows: list[dict[str, float | str]]) -> str:
    """Costs from 0.2 to 0.8, regrets from 0 to MOST_REGRET, best at the lower left."""
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
    for row in rows:
        x, y = across(float(row["cost"])), up(float(row["regret"]))
        colour = "#2a9d5c" if row["scheduler"] == "foldrace" else "#2b6cb0"
        lift = 20 if row["scheduler"] == "halving" else 6  # it is close to the fold race
        text.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="5" fill="{colour}"/>')
        label = f"{row['scheduler']}, P(best) {float(row['p_best']):.2f}"
        text.append(f'<text x="{x + 9:.0f}" y="{y - lift:.0f}">{label}</text>')
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', *text, "</g>", "</svg>", ""])


def across(cost: float) -> float:
    return LEFT + (cost - 0.2) / 0.65 * (WIDTH - LEFT - 40)


def up(regret: float) -> float:
    return BOTTOM - min(regret, MOST_REGRET) / MOST_REGRET * (BOTTOM - 40)


def main() -> None:
    documents = [json.loads(path.read_text()) for path in sorted((HOME / "results").glob("foreign_curves*.json"))]
    rows = [row for document in documents for row in document["results"] if row["tables"] == "all"]
    (HOME.parent / "docs" / "pictures" / "frontier.svg").write_text(picture(rows))


if __name__ == "__main__":
    main()
