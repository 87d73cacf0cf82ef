"""Put sections into one HTML document, with its style and scripts inside or, on the live page, beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from analysis.report.figure import Figure, Markup, Section, as_json

HOME = Path(__file__).parent
TEMPLATE, STYLE = HOME / "page.html", HOME / "page.css"
SCRIPTS = ("figures.js", "run.js", "parallel.js", "configs.js")


@dataclass(frozen=True)
class Page:
    """``run`` is what the scripts sort and filter (see ``run_data``); the first section fills the first screen."""

    title: str
    subtitle: str
    sections: Sequence[Section]
    following: str = ""
    run: Mapping[str, Any] | None = None


def document(page: Page) -> str:
    """The whole document, which needs nothing but itself."""
    scripts = [plotly(), *((HOME / name).read_text() for name in SCRIPTS)]
    return fill(
        page, f"<style>\n{STYLE.read_text()}</style>", "".join(f"<script>{each}</script>\n" for each in scripts)
    )


def linked(page: Page, base: str, scripts: Sequence[str], top: str = "") -> str:
    """The document for a server that has the style and the scripts at ``base``; ``top`` is above the title."""
    drawn = page.run is not None or any(section.figures for section in page.sections)
    files = ("plotly.js", *SCRIPTS, *scripts) if drawn else (SCRIPTS[0], *scripts)
    loaded = "".join(f'<script src="{base}{name}"></script>\n' for name in files)
    return fill(page, f'<link rel="stylesheet" href="{base}page.css">', loaded, top)


def fill(page: Page, style: str, scripts: str, top: str = "") -> str:
    first, *rest = page.sections
    parts = {
        "TITLE": escape(page.title),
        "SUBTITLE": escape(page.subtitle),
        "STYLE": style,
        "TOP": top,
        "LINKS": "".join(f'<a href="#{each.name}">{escape(each.title)}</a>' for each in rest),
        "FIRST": "".join(_block(block) for block in first.blocks),
        "SECTIONS": "".join(_section(each) for each in rest),
        "NEXT": f"<p>Next:</p><pre>{escape(page.following)}</pre>" if page.following else "",
        "MADE": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "FIGURES": as_json({figure.name: figure.document() for each in page.sections for figure in each.figures}),
        "RUN": as_json(page.run),
        "SCRIPTS": scripts,
    }
    pieces = TEMPLATE.read_text().split("@@")  # text and placeholders alternate; inserted text is not searched again
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _section(section: Section) -> str:
    blocks = "".join(_block(block) for block in section.blocks)
    title = f"<h2>{escape(section.title)}</h2>"
    return f'<section id="{escape(section.name)}">{title}<div class="grid">{blocks}</div></section>'


def _block(block: Figure | Markup) -> str:
    if isinstance(block, Markup):
        return f'<div class="wide">{block.html}</div>' if block.html else ""
    return (
        f'<figure class="{"half" if block.half else "wide"}"><h3>{escape(block.title)}</h3>'
        f'<div class="scroll"><div class="plot" data-figure="{escape(block.name, quote=True)}" role="img" '
        f'aria-label="{escape(block.title, quote=True)}" '
        f'style="height:{block.height}px;min-width:{block.least_width}px">'
        f"</div></div><figcaption>{escape(block.caption)}</figcaption></figure>"
    )
