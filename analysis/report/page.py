"""Render the page: one HTML file with its style, plotly, and the figures as JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from analysis.report.figure import Figure, Markup, Section, as_json

TEMPLATE = Path(__file__).with_name("page.html")


def page(title: str, subtitle: str, sections: Sequence[Section], following: str) -> str:
    """The whole document; the first section fills the first screen."""
    from plotly.offline import get_plotlyjs

    first, *rest = sections
    links = "".join(f'<a href="#{each.name}">{escape(each.title)}</a>' for each in rest)
    figures = {figure.name: figure.document() for each in sections for figure in each.figures}
    parts = {
        "TITLE": escape(title),
        "SUBTITLE": escape(subtitle),
        "LINKS": links,
        "FIRST": "".join(_block(block) for block in first.blocks),
        "SECTIONS": "".join(_section(each) for each in rest),
        "NEXT": escape(following),
        "MADE": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "FIGURES": as_json(figures),
        "PLOTLY": get_plotlyjs(),
    }
    pieces = TEMPLATE.read_text().split("@@")  # text and placeholders alternate; inserted text is not searched again
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


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
