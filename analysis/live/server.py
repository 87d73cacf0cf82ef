"""The pages over HTTP: the list of runs, a report of each, runs side by side, and a stream of what changes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote, unquote

from aiohttp import web

from analysis.live import run_comparison, run_list
from analysis.live.access import guard
from analysis.live.followed_runs import FollowedRuns, report_process
from analysis.live.report_page import BASE, SCRIPTS, message
from analysis.report.page import page

FIRST, LONGEST = 0.5, 20.0  # seconds that the list, and the other pages, wait for runs that have not been read
BEAT = 15.0  # seconds after which a silent stream shows that it is alive
KINDS = {".js": "text/javascript", ".css": "text/css"}
RUNS: web.AppKey[FollowedRuns] = web.AppKey("runs")
STREAMS: web.AppKey[set[asyncio.Queue[tuple[str, str]]]] = web.AppKey("streams")


def application(
    root: str, token: str | None, host: str, new_pool: Callable[[], Executor] = report_process
) -> web.Application:
    """``new_pool`` makes what builds the reports, by default a process."""
    app = web.Application(middlewares=[guard(token, host)])
    app[STREAMS] = set()
    app.cleanup_ctx.append(lambda each: _following(each, root, new_pool))
    app.add_routes(
        [
            web.get("/", _list),
            web.get("/run/{name}", _run),
            web.get("/compare", _compare),
            web.get("/events", _events),
            web.get(BASE + "{file}", _static),
        ]
    )
    return app


async def _following(app: web.Application, root: str, new_pool: Callable[[], Executor]) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()

    def tell(change: tuple[str, str]) -> None:
        for queue in app[STREAMS]:
            queue.put_nowait(change)

    def changed(name: str, kind: str) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, (name, kind))

    app[RUNS] = FollowedRuns(root, changed, new_pool)
    app[RUNS].start()
    yield
    app[RUNS].stop()


async def _list(request: web.Request) -> web.Response:
    runs = request.app[RUNS]
    await asyncio.to_thread(runs.wait, FIRST)
    made = run_list.list_page(runs.root, runs.snapshots().values(), runs.problem)
    return _html(page.linked(made, BASE, SCRIPTS, '<span id="connection" class="crumbs"></span>'))


async def _run(request: web.Request) -> web.Response:
    """The report of a run: the last one that was built, or the first as soon as it is."""
    runs, name = request.app[RUNS], request.match_info["name"]
    await asyncio.to_thread(runs.wait, LONGEST)
    if name not in runs.snapshots():  # a name is looked up and never part of a path
        return _html(message(name, f"There is no run of this name in {runs.root}."), 404)
    built = runs.reports.get(name)
    if built is None:
        try:
            built = await asyncio.wrap_future(runs.report(name))
        except Exception as error:  # noqa: BLE001  whatever the report fails at, the page says so
            return _html(message(name, f"The report could not be built: {error!r}"), 500)
    return _html(built.html)


async def _compare(request: web.Request) -> web.Response:
    await asyncio.to_thread(request.app[RUNS].wait, LONGEST)
    known = request.app[RUNS].snapshots()
    names = list(dict.fromkeys(request.query.getall("run", [])))
    if unknown := [name for name in names if name not in known]:
        return _html(message("Compare", f"There is no run {', '.join(unknown)} in {request.app[RUNS].root}."), 404)
    if len(names) < 2:
        return _html(message("Compare", "Tick at least two runs in the list of all runs."), 400)
    made = run_comparison.comparison_page([known[name] for name in names])
    return _html(page.linked(made, BASE, (), '<p class="crumbs"><a href="/">All runs</a></p>'))


async def _events(request: web.Request) -> web.StreamResponse:
    """Server-sent events: every run as it is, then what changes."""
    runs, opened = request.app[RUNS], unquote(request.query.get("run", ""))
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    async with _stream(request.app, opened) as queue:
        with suppress(ConnectionError):  # the browser has left
            await _tell(response, runs, opened, queue)
    return response


async def _tell(
    response: web.StreamResponse, runs: FollowedRuns, opened: str, queue: asyncio.Queue[tuple[str, str]]
) -> None:
    for name in [opened] if opened else runs.snapshots():
        await _send(response, runs, name, "run")
    while True:
        try:
            name, kind = await asyncio.wait_for(queue.get(), BEAT)
        except TimeoutError:
            await response.write(b": still here\n\n")
            continue
        if kind == "report" and name != opened:
            continue
        if not opened or name == opened:
            await _send(response, runs, name, kind)


@asynccontextmanager
async def _stream(app: web.Application, opened: str) -> AsyncIterator[asyncio.Queue[tuple[str, str]]]:
    queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    app[STREAMS].add(queue)
    if opened:
        await asyncio.to_thread(app[RUNS].open, opened)
    try:
        yield queue
    finally:
        app[STREAMS].discard(queue)
        if opened:
            app[RUNS].close(opened)


async def _send(response: web.StreamResponse, runs: FollowedRuns, name: str, kind: str) -> None:
    data: dict[str, Any] = {"run": quote(name, safe="")}
    snapshot = runs.snapshots().get(name)
    if kind == "run" and snapshot is not None:
        data |= {"row": run_list.row(snapshot), "line": run_list.strip(snapshot)}
    await response.write(f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode())


async def _static(request: web.Request) -> web.Response:
    """The scripts and the style by name; nothing else can be asked for."""
    name = request.match_info["file"]
    files = {file: page.HOME / file for file in (*page.SCRIPTS, page.STYLE.name)}
    files |= {file: page.HOME.parents[1] / "live" / file for file in SCRIPTS}
    if name == "plotly.js":
        text = await asyncio.to_thread(page.plotly)
    elif name in files:
        text = files[name].read_text()
    else:
        raise web.HTTPNotFound
    kind = KINDS["." + name.rsplit(".", 1)[1]]
    age = 86400 if name == "plotly.js" else 0
    return web.Response(text=text, content_type=kind, headers={"Cache-Control": f"private, max-age={age}"})


def _html(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", headers={"Cache-Control": "no-store"})
