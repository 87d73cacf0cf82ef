"""The live page as a person sees it: in a real Chromium, of a run that goes on."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from browser import PATIENCE, opened_browser
from untrained_runs import CONDITIONAL, write_run

import analysis.live.followed_runs
from analysis.live.server import application
from benchmarks.page_times import first_pages, updates, write_runs
from search.runs.journal import Journal


@contextmanager
def served(root):
    """The server in a thread; the address of its pages."""
    import asyncio

    from aiohttp import web

    loop, started, address = asyncio.new_event_loop(), threading.Event(), []
    runner = web.AppRunner(
        application(str(root), None, "127.0.0.1", lambda: ThreadPoolExecutor(1)), shutdown_timeout=0.1
    )

    async def start():
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address.append(f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}")
        started.set()

    def run():
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(30)
    yield address[0]
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


@pytest.fixture(scope="module")
def browser():
    with opened_browser() as browser:
        yield browser


def test_the_pages_follow_a_run_that_goes_on(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(analysis.live.followed_runs, "REST", 0.0)  # the report is renewed at once
    run = write_run(tmp_path / "runs" / "going", CONDITIONAL, folds=3)
    lines = run.journal.read_text().splitlines(keepends=True)
    run.journal.write_text("".join(lines[:60]))
    complaints = []

    def opened(**more):
        page = browser.new_page(**more)
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text))
        return page

    def go_on(*added):
        with run.journal.open("a") as journal:
            journal.write("".join(added))

    with Journal(run.journal), served(tmp_path / "runs") as address:
        listed, report = opened(bypass_csp=True), opened(bypass_csp=True)  # playwright's own scripts need it
        listed.goto(address)
        listed.wait_for_selector(".state.running")
        report.goto(f"{address}/run/going")
        report.wait_for_selector("body[data-ready]")
        report.wait_for_selector("#strip .state.running")
        begun, configs = report.evaluate("[run.trials.length, run.configs.length]")
        report.fill("#query", "loss=iou")
        go_on(*lines[60:-1])
        done = sum(json.loads(line).get("step") == 12000 for line in lines)
        for page in (listed, report):
            page.wait_for_function(f"document.body.textContent.includes('{done} of {3 * configs}')")
        report.wait_for_function(f"document.body.dataset.renewed && run.trials.length > {begun}")
        assert report.evaluate("run.trials.filter(trial => trial.full !== null).length") == done
        kept = report.evaluate("run.configs.filter(c => valuesText(c).includes('loss: iou')).length")
        assert report.input_value("#query") == "loss=iou" and 0 < kept < configs
        assert report.locator("#count").inner_text() == f"{kept} of {configs} configs"
        assert report.locator(".value").first.inner_text().startswith("0."), "there is a winner"
        go_on(lines[-1])
        listed.wait_for_selector(".state.ended")
        strict = opened()
        strict.goto(f"{address}/run/going")
        strict.wait_for_selector("body[data-ready]")
        assert strict.locator("#table tbody tr").count() > 0 and complaints == []
        for page in (listed, report, strict):
            page.close()


def test_an_update_is_shown_within_300_ms_and_twenty_runs_within_a_second(browser, tmp_path):
    """20 runs of 360 fold trials; the best of a few, because other tests share the cores."""
    first, lines = write_runs(tmp_path / "runs", 20)
    with served(tmp_path / "runs") as address:
        page = browser.new_page(bypass_csp=True)
        assert min(first_pages(page, address, 20)) < 1000
        delays = updates(page, first, lines)
        assert min(delays[1:]) < 300, delays
