"""The report as a person sees it: in a real Chromium without a window."""

import os

import pytest
from untrained_runs import GRID, RANGES, write_run

from analysis.answer.selection import select
from analysis.report.png import find_browser, write_pngs
from analysis.report.write import write_report
from search.runs.run_tables import read_run
from trainable.errors import UserError

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium():
    try:
        return find_browser()
    except UserError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("no Chromium here: apt-get install chromium")


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        window = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield window
        window.close()


@pytest.fixture(scope="module", params=["grid", "ranges"])
def report(request, tmp_path_factory):
    text = {"grid": GRID, "ranges": RANGES}[request.param]
    tables = read_run(write_run(tmp_path_factory.mktemp("runs") / request.param, text, folds=3))
    selection = select(tables)
    path, sections = write_report(tables, selection)
    return path, [figure for each in sections for figure in each.figures], selection


def opened(browser, path, width, scheme):
    """The page with all figures drawn, and everything that it complained of or asked for."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints, requests = [], []
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready]")
    return page, complaints, [url for url in requests if not url.startswith(("data:", "blob:"))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_every_figure_is_drawn_without_errors_or_requests(browser, report, width, scheme):
    path, figures, selection = report
    page, complaints, requests = opened(browser, path, width, scheme)
    assert complaints == [] and requests == [path.as_uri()]
    assert page.locator(".js-plotly-plot").count() == len(figures)
    assert page.evaluate(
        "[...document.querySelectorAll('.js-plotly-plot')].every(p => p.querySelector("
        "'.scatterlayer .trace, .heatmaplayer image, .contourlayer path, .barlayer .point, .contourlayer .contour'))"
    )
    assert page.locator(".value").first.inner_text() == f"{selection.winner.mean:.4f}"
    assert page.evaluate("document.documentElement.scrollWidth") == width, "the page scrolls sideways"
    page.close()


def test_figures_follow_the_colours_of_the_page_also_on_paper(browser, report):
    page, _, _ = opened(browser, report[0], 1400, "light")
    background = "document.querySelector('.plot')._fullLayout.paper_bgcolor"
    assert page.evaluate(background) == "#ffffff"
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{background} === '#14181e'")
    page.emulate_media(color_scheme="dark", media="print")
    page.wait_for_function(f"{background} === '#ffffff'")
    page.close()


def test_the_page_shows_the_numbers_that_plotly_draws(browser, report):
    path, _, selection = report
    page, _, _ = opened(browser, path, 1400, "light")
    drawn = page.evaluate("document.querySelector('[data-figure=configs]').data.flatMap(trace => trace.y)")
    assert sorted(drawn) == pytest.approx(sorted(selection.effects.table["score"]), abs=1e-6)
    page.close()


def test_every_figure_becomes_a_picture(chromium, report, tmp_path):
    from PIL import Image

    path, figures, _ = report
    write_pngs(path, [figure.name for figure in figures], tmp_path)
    assert len(list(tmp_path.glob("*.png"))) == len(figures)
    for file in tmp_path.glob("*.png"):
        with Image.open(file) as picture:
            assert picture.width >= 1800 and len(picture.convert("RGB").getcolors(1 << 24)) > 5, file
