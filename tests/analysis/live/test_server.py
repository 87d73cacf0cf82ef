"""The live page over HTTP: what it shows, to whom, and that it only reads."""

import asyncio
import hashlib
import json
import threading
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from aiohttp.test_utils import TestClient, TestServer
from untrained_runs import GRID, ONE, RANGES, write_run

import analysis.live.followed_runs
from analysis.live.followed_run import FollowedRun
from analysis.live.followed_runs import FollowedRuns
from analysis.live.report_page import Built
from analysis.live.run_list import row, strip
from analysis.live.server import application
from search.run_storage.find_runs import find_run
from search.run_storage.journal_segments import SegmentUploader
from search.runs.journal import Journal, Tail
from search.runs.run_tables import read_run
from trainable.errors import UserError
from trainable.printing import device_time, digits
from trainable.storage.object_store import Store

TOKEN = "secret"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    write_run(root / "done", GRID, folds=3)
    write_run(root / "part", RANGES, folds=3, until=120)
    broken = write_run(root / "broken", GRID, folds=3)
    broken.journal.write_text("{}\n" + broken.journal.read_text())
    (root / "not a run").mkdir()
    return root


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """The list waits until all runs have been read, however slow the machine is."""
    monkeypatch.setattr("analysis.live.server.FIRST", 60)


@asynccontextmanager
async def client(root, token=None, host="127.0.0.1"):
    async with (
        TestServer(application(str(root), token, host, lambda: ThreadPoolExecutor(1))) as server,
        TestClient(server) as opened,
    ):
        yield opened


def asked(root, *paths, token=None):
    """(status, text, headers) of each page."""

    async def ask():
        async with client(root, token) as opened:
            answers = []
            for path in paths:
                async with opened.get(path, allow_redirects=False) as answer:
                    endless = answer.status == 200 and path == "/events"
                    answers.append((answer.status, "" if endless else await answer.text(), answer.headers))
            return answers

    return asyncio.run(ask())


def test_the_list_shows_every_run_and_what_is_wrong_with_a_damaged_one(root):
    ((status, text, _),) = asked(root, "/")
    assert status == 200 and text.count("<tr data-run=") == 3 and "not a run" not in text
    done = text[text.index('data-run="done"') :]
    leader = FollowedRun(find_run("done", str(root)))
    leader.read()
    done = done[: done.index("</tr>")]
    assert f"{leader.snapshot.mean:.4f} ± {leader.snapshot.sd:.4f}" in done
    assert device_time(leader.snapshot.spent, leader.snapshot.device) in done, "as plans and the report say it"
    broken = text[text.index('data-run="broken"') :]
    broken = broken[: broken.index("</tr>")]
    assert "line 1: is damaged" in broken and "1 record left out" in broken
    assert digits(read_run(find_run("broken", str(root))).status.leader["mean"]) in broken


def test_a_report_is_the_same_page_as_the_file_without_its_scripts_inside(root):
    (report, script, plotly) = asked(root, "/run/done", "/static/configs.js", "/static/plotly.js")
    assert report[0] == script[0] == plotly[0] == 200
    assert 'id="explorer"' in report[1] and '<script src="/static/configs.js">' in report[1]
    run = json.loads(report[1].split('id="run">')[1].split("</script>")[0])
    assert len(run["configs"]) == 72 and "plotly.js v" not in report[1]


def test_nothing_is_shown_without_the_token(root):
    paths = (
        "/",
        "/run/done",
        "/events",
        "/compare?run=done&run=part",
        "/static/configs.js",
        "/?token=wrong",
        "/?token=",
    )
    assert [status for status, _, _ in asked(root, *paths, token=TOKEN)] == [401] * len(paths)


def test_a_cookie_of_any_bytes_is_no_token(root):
    async def ask():
        async with client(root, TOKEN) as opened:
            port = opened.server.port
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nCookie: scribble-search-{port}="
            writer.write(head.encode() + b"\xff\r\n\r\n")
            answer = await reader.read()
            writer.close()
            return answer

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 401")


def test_the_token_in_the_address_becomes_a_cookie_that_scripts_cannot_read(root):
    async def ask():
        async with client(root, TOKEN) as opened:
            async with opened.get(f"/?token={TOKEN}", allow_redirects=False) as answer:
                assert answer.status == 303 and answer.headers["Location"] == "/"
                cookie = answer.headers["Set-Cookie"]
            async with opened.get("/") as answer:  # with the cookie
                return cookie, answer.status, answer.headers

    cookie, status, headers = asyncio.run(ask())
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and status == 200
    policy = headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy


def test_paths_out_of_the_folder_are_not_found(root, tmp_path):
    write_run(tmp_path / "elsewhere", GRID, folds=3, until=20)
    outside = (
        "/run/..%2F" + tmp_path.name + "%2Felsewhere",
        "/run/%2Fetc",
        "/static/..%2Fserver.py",
        "/static/page.py",
    )
    answers = asked(root, *outside, "/static/%2e%2e%2f%2e%2e%2fpyproject.toml")
    assert [status for status, _, _ in answers] == [404] * 5


def test_only_reading_is_allowed_and_nothing_is_written(root):
    def contents():
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()}

    async def ask():
        async with client(root) as opened:
            for method in ("POST", "PUT", "DELETE", "PATCH"):
                async with opened.request(method, "/run/done") as answer:
                    assert answer.status == 405
            for path in ("/", "/run/part", "/compare?run=done&run=part"):
                async with opened.get(path) as answer:
                    assert answer.status == 200

    before = contents()
    asyncio.run(ask())
    assert contents() == before


def test_another_site_cannot_resolve_to_the_server(root):
    async def ask():
        async with client(root) as opened, opened.get("/", headers={"Host": "evil.example:80"}) as answer:
            return answer.status

    assert asyncio.run(ask()) == 403


def test_names_are_text_and_never_markup(tmp_path):
    name = "<img src=x onerror=alert(1)>"
    write_run(tmp_path / "runs" / name.replace("/", ""), GRID.replace("{name}", "plain"), folds=3, until=40)
    link = "/run/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"
    answers = asked(tmp_path / "runs", "/", link, f"/compare?run={link[5:]}&run=<script>", "/run/<script>")
    assert [status for status, _, _ in answers] == [200, 200, 404, 404]
    assert all("<img" not in text and "<script>" not in text for _, text, _ in answers)


def test_runs_are_compared_by_score_cost_and_space(root):
    ((status, text, _),) = asked(root, "/compare?run=done&run=part")
    assert status == 200
    assert "Their scores are not comparable" not in text  # the same data, folds and metric
    assert "0.0005 to 0.02, log-uniform" in text and "low, medium, high" in text
    snapshot = FollowedRun(find_run("done", str(root)))
    snapshot.read()
    spent, mean = snapshot.snapshot.best[-1]
    assert digits(mean) in text and device_time(spent, snapshot.snapshot.device) in text
    figures = json.loads(text.split('id="figures">')[1].split("</script>")[0])
    assert figures["progress"]["data"][0]["y"][-1] == pytest.approx(mean, abs=1e-6)


def test_the_best_mean_is_noted_with_what_had_been_spent_by_then(tmp_path):
    run = write_run(tmp_path / "run", GRID, folds=3)
    followed = FollowedRun(run)
    followed.read()
    best = followed.snapshot.best
    assert [mean for _, mean in best] == sorted({mean for _, mean in best})
    assert followed.snapshot.mean == pytest.approx(best[-1][1]) and best[-1][0] <= followed.snapshot.spent


@pytest.mark.parametrize(("wait", "shown"), [(0.0, True), (3600.0, False)])
def test_a_run_that_could_not_be_read_is_read_again_after_a_while(tmp_path, monkeypatch, wait, shown):
    run = write_run(tmp_path / "run", ONE, folds=3)
    monkeypatch.setattr("analysis.live.followed_run.RETRY", wait)
    followed, space, problems = FollowedRun(run), run.space(), [UserError("this plugin is not allowed here")]

    def not_at_first():  # as with a plugin that is allowed later, which changes no file of the run
        if problems:
            raise problems.pop()
        return space

    monkeypatch.setattr(type(run), "space", lambda self: not_at_first())
    assert followed.read() and "not allowed" in followed.snapshot.problem
    assert followed.read() == shown == (not followed.snapshot.problem)


def test_a_run_that_cannot_be_read_is_read_again_only_when_a_file_has_changed(tmp_path, monkeypatch):
    run, reads, read = write_run(tmp_path / "run", ONE, folds=3), [], Tail.read
    monkeypatch.setattr(Tail, "read", lambda tail: reads.append(tail) or read(tail))
    space = run.folder / "space.yaml"
    content = space.read_bytes()
    space.write_bytes(content[:-9])
    followed = FollowedRun(run)
    assert followed.read() and "space.yaml: is damaged" in followed.snapshot.problem
    assert not followed.read() and len(reads) == 1
    space.write_bytes(content)
    assert followed.read() and not followed.snapshot.problem and followed.snapshot.leader


def test_damage_of_a_journal_that_was_replaced_is_forgotten(tmp_path):
    run = write_run(tmp_path / "run", GRID, folds=3, until=60)
    whole = run.journal.read_text()
    run.journal.write_text("{}\n" + whole)
    followed = FollowedRun(run)
    followed.read()
    assert len(followed.snapshot.left_out) == 1
    with run.journal.open("a") as journal:
        journal.write("{}\n")
    assert followed.read() and len(followed.snapshot.left_out) == 2
    run.journal.unlink()
    run.journal.write_text(whole)
    expected = FollowedRun(run)
    assert followed.read() and expected.read() and not followed.snapshot.left_out
    assert followed.snapshot.counts == expected.snapshot.counts


def test_a_run_that_has_not_been_read_says_so(tmp_path):
    unread = FollowedRun(write_run(tmp_path / "run", ONE, folds=3)).snapshot
    assert "being read" in row(unread) and strip(unread) == "being read" and 'href="/run/run"' in row(unread)


def test_a_run_is_read_on_from_where_it_was(tmp_path):
    run = write_run(tmp_path / "run", GRID, folds=3)
    lines = run.journal.read_text().splitlines(keepends=True)
    run.journal.write_text("".join(lines[:100]))
    followed = FollowedRun(run)
    assert followed.read() and not followed.read()
    assert followed.snapshot.state.startswith("died") and not followed.snapshot.running
    with Journal(run.journal):
        assert followed.read() is False  # nothing was written, so nobody looked whether it is driven
        with run.journal.open("a") as journal:
            journal.write("".join(lines[100:150]))
        assert followed.read() and followed.snapshot.running and followed.snapshot.version == 2
    assert followed.read() and not followed.snapshot.running
    whole = FollowedRun(run)
    whole.read()
    assert whole.snapshot.counts == followed.snapshot.counts and whole.snapshot.spent == followed.snapshot.spent


def test_reports_are_built_again_after_their_process_was_killed(root, monkeypatch):
    monkeypatch.setattr(analysis.live.followed_runs, "build", lambda *_: Built("the page", 1, False, 0.1))
    killed = ThreadPoolExecutor(1, initializer=lambda: 1 / 0)
    assert isinstance(killed.submit(int).exception(), BrokenExecutor)
    pools = [killed, ThreadPoolExecutor(1)]
    runs = FollowedRuns(str(root), lambda *_: None, lambda: pools.pop(0))
    runs.start()
    try:
        runs.wait(60)
        assert runs.report("done").result(60).html == "the page" and not pools
    finally:
        runs.stop()


def test_a_look_that_fails_does_not_end_the_others(root, monkeypatch):
    seen, all_seen = [], threading.Event()

    def changed(name, _):
        seen.append(name)
        if len(seen) == 1:
            raise RuntimeError("only once")
        if len(seen) == 3:
            all_seen.set()

    taken = FollowedRun._taken
    monkeypatch.setattr(
        FollowedRun, "_taken", lambda self, status: [][0] if self.run.name == "done" else taken(self, status)
    )
    runs = FollowedRuns(str(root), changed, lambda: ThreadPoolExecutor(1))
    runs.start()
    try:
        assert all_seen.wait(60) and set(seen) == {"done", "part", "broken"}
        assert "IndexError" in runs.snapshots()["done"].problem and not runs.snapshots()["part"].problem
    finally:
        runs.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_runs_in_an_object_store_are_shown(object_store, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    run = write_run(tmp_path / "stored", ONE, folds=3)
    store = Store(object_store.url("runs")).under("stored")
    for path in [*run.folder.glob("*.*"), *run.folder.glob("configs/*/*")]:
        if path != run.journal:
            store.put(path, path.relative_to(run.folder).as_posix())
    SegmentUploader(store, run.journal).push(store)
    before = object_store.names()
    listed, report = asked(object_store.url("runs"), "/", "/run/stored")
    followed = FollowedRun(run)
    followed.read()
    assert f"{followed.snapshot.mean:.4f}" in listed[1] and f"{followed.snapshot.mean:.4f}" in report[1]
    assert object_store.names() == before
