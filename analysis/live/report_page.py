"""The report of a run as it stands, built in another process by what ``analysis report`` uses."""

import time
from dataclasses import dataclass, replace
from html import escape
from urllib.parse import quote

from analysis.report.page.page import linked
from trainable.errors import UserError

BASE = "/static/"
SCRIPTS = ("live.js",)
WAITING = "The images of the winner appear when the run has ended; analysis report shows them before."
SOON = "The images are being predicted and appear here."


@dataclass(frozen=True)
class Built:
    """``version`` is that of the run's snapshot, ``images`` whether images were predicted as well."""

    html: str
    version: int
    images: bool
    seconds: float


def prepare() -> None:
    """What takes seconds to import."""
    import analysis.report.write  # noqa: F401


def build(name: str, root: str, version: int, images: bool) -> Built:
    from analysis.answer.selection import select
    from analysis.report.write import report_page
    from search.run_storage.find_runs import find_run
    from search.runs.run_tables import read_run

    began = time.monotonic()
    try:
        tables = read_run(find_run(name, root))
        why = "" if images else WAITING if tables.status.driven else SOON
        page = report_page(tables, select(tables), without_images=why)
        html = linked(replace(page, following=""), BASE, SCRIPTS, top(name))
    except UserError as error:
        html = message(name, str(error))
    return Built(html, version, images, time.monotonic() - began)


def top(name: str) -> str:
    """The way back, and the line that is renewed at once."""
    return (
        f'<p class="crumbs"><a href="/">All runs</a> <span id="connection"></span></p>'
        f'<div id="strip" data-run="{escape(quote(name), quote=True)}"></div>'
    )


def message(title: str, text: str) -> str:
    from analysis.report.figure import Section, sentence
    from analysis.report.page.page import Page

    return linked(Page(title, "", [Section("message", "", [sentence(text)])]), BASE, SCRIPTS, top(title))
