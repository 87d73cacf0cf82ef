"""The end of a run: what a failed launch leaves, and what the command or URL of ``on_end`` is told."""

import json
import os
import shlex
import sys
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from typer.testing import CliRunner

from search.__main__ import app
from search.commands import launch, run_end
from search.commands.launch import launch_space
from search.commands.launch_checks import LaunchOptions
from search.engine.listeners import Outcome
from search.planning.plan import PlanOptions
from search.run_storage.find_runs import refuse_run
from search.runs.run_folder import Run
from search.runs.status import status_of
from search.terminal.watch import show_run
from spaces.load import make_space
from spaces.yaml_file.problems import SpaceError
from trainable.errors import UserError

TREE = {
    "name": "demo",
    "trainable": "scripted",
    "folds": 2,
    "parameters": {"quality": {"values": [0.7, 0.8]}, "steps": 2, "evaluations": 2},
}
TELL = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"


def options(root, **more):
    values = {"force_code": False, "rebuild": False, "plan": PlanOptions(), "address": None, "dashboard": False}
    return LaunchOptions(str(root), show=show_run, **values | more)


def command(*words):
    return shlex.join([sys.executable, "-c", *map(str, words)])


@pytest.fixture
def told(tmp_path):
    """A hook that writes what it is told to a file, and a function that reads it."""
    path = tmp_path / "told.json"
    return command(TELL, path), lambda: json.loads(path.read_text())


def study_that(monkeypatch, ends):
    """Replace Ray by a study that trains nothing and ends, or fails, like this."""

    def run_study(*arguments):
        if isinstance(ends, Exception):
            raise ends
        return ends

    monkeypatch.setattr(launch, "run_study", run_study)


def test_the_space_of_a_run_that_was_changed_by_hand_is_restored_by_a_launch_elsewhere(tmp_path, monkeypatch):
    study_that(monkeypatch, Outcome("stopped", interrupted=True))
    launch_space(make_space(TREE), options(tmp_path / "runs"))
    path = tmp_path / "runs/demo/space.yaml"
    path.write_text(path.read_text().replace("0.8", "0.9"))
    with pytest.raises(UserError, match=r"space.yaml: is damaged; undo .* or restore .*another --runs writes the same"):
        launch_space(make_space(TREE), options(tmp_path / "runs"))
    launch_space(make_space(TREE), options(tmp_path / "other"))
    path.write_bytes((tmp_path / "other/demo/space.yaml").read_bytes())
    launch_space(make_space(TREE), options(tmp_path / "runs"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UserError("head:6379: unreachable\nsecond line"), "head:6379: unreachable"),
        (RuntimeError("the node timed out"), "RuntimeError: the node timed out"),
    ],
)
def test_a_launch_that_fails_once_it_has_begun_says_so_in_the_run_and_to_the_hook(
    error, reason, tmp_path, monkeypatch, told
):
    study_that(monkeypatch, error)
    with pytest.raises(type(error)):
        launch_space(make_space(TREE | {"on_end": told[0]}), options(tmp_path))
    assert status_of(Run(tmp_path / "demo")).state == f"ended: failed: {reason}"
    assert (told[1]()["state"], told[1]()["exit_code"]) == ("failed", 2)


def fail(*arguments):
    raise UserError("the storage of the sampler cannot be opened")


def test_a_launch_that_fails_before_it_begins_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "_proposals", fail)
    with pytest.raises(UserError, match="storage"):
        launch_space(make_space(TREE), options(tmp_path))
    assert not (tmp_path / "demo").exists()


def test_a_run_that_has_begun_is_kept_when_a_later_launch_fails(tmp_path, monkeypatch):
    study_that(monkeypatch, Outcome("interrupted", interrupted=True))
    launch_space(make_space(TREE), options(tmp_path))
    before = (tmp_path / "demo/journal.jsonl").read_text()
    monkeypatch.setattr(launch, "_proposals", fail)
    with pytest.raises(UserError):
        launch_space(make_space(TREE), options(tmp_path))
    assert (tmp_path / "demo/journal.jsonl").read_text() == before


def test_the_hook_is_told_the_outcome(tmp_path, monkeypatch, told):
    study_that(monkeypatch, Outcome("stopped by request", interrupted=True))
    launch_space(make_space(TREE | {"on_end": told[0]}), options(tmp_path))
    document = told[1]()
    assert (document["run"], document["state"], document["exit_code"]) == ("demo", "interrupted", 130)
    assert (document["reason"], document["configs"], document["winner"]) == ("stopped by request", 2, None)


def test_the_hook_of_a_run_in_a_store_is_called_after_the_last_upload(object_store, tmp_path, monkeypatch):
    def note(hook, text):
        ends = [b'"end"' in object_store.read(name) for name in object_store.names("runs/demo/journal/")]
        calls.append((json.loads(text)["state"], ends, "runs/demo/driver.json" in object_store.names()))

    calls = []
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr(run_end, "_tell", note)
    for ends in (Outcome("stopped by request", interrupted=True), UserError("unreachable")):
        study_that(monkeypatch, ends)
        with pytest.raises(UserError) if isinstance(ends, UserError) else nullcontext():
            launch_space(make_space(TREE | {"on_end": "true"}), options(object_store.url("runs")))
    assert calls == [("interrupted", [True], False), ("failed", [True], False)]


def test_nobody_is_told_without_a_hook(tmp_path, monkeypatch):
    study_that(monkeypatch, Outcome("stopped by request", interrupted=True))
    monkeypatch.setattr(run_end, "_tell", lambda *arguments: pytest.fail("nobody asked for it"))
    launch_space(make_space(TREE), options(tmp_path))


def test_a_declined_launch_writes_nothing(tmp_path):
    def decline(warning):
        raise UserError(warning)

    days = make_space(TREE | {"parameters": {"steps": 10**6, "evaluations": 2, "step_seconds": 1.0}})
    with pytest.raises(UserError, match="expected to take"):
        launch_space(days, options(tmp_path, confirm=decline))
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_a_run_is_not_taken_for_a_space(tmp_path, monkeypatch):
    study_that(monkeypatch, Outcome("interrupted", interrupted=True))
    launch_space(make_space(TREE), options(tmp_path))
    for name in ("demo", str(tmp_path / "demo")):
        done = CliRunner().invoke(app, ["launch", name, "--runs", str(tmp_path)])
        assert isinstance(done.exception, UserError)
        assert str(done.exception).startswith(f"{name}: is a run, not a space")
        assert f"python -m search launch {tmp_path}/demo/space.yaml" in str(done.exception)


def test_a_shipped_space_is_launched_again_though_its_run_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where nobody has run `make quickstart`
    study_that(monkeypatch, Outcome("interrupted", interrupted=True))
    launch_space(make_space(TREE | {"name": "quickstart"}), options(tmp_path))
    done = CliRunner().invoke(app, ["launch", "quickstart", "--runs", str(tmp_path), "--set", "name=other"])
    assert str(done.exception).startswith("runs/quickstart-data: no such folder")
    with pytest.raises(UserError, match="is a run, not a space"):
        refuse_run(str(tmp_path / "quickstart"), str(tmp_path))


@pytest.mark.parametrize(
    ("hook", "problem"),
    [
        ("sh -c 'exit 3'", "sh ended with exit code 3"),
        ("sleep 60", "sleep did not end within 0.5 s and was stopped"),
        ("no-such-program", "no-such-program cannot be run (No such file or directory)"),
        ("$NO_SUCH_HOOK", "the environment has no NO_SUCH_HOOK"),
        ("http://127.0.0.1:9/secret-path", "127.0.0.1 cannot be reached"),
        ("http://[secret", "its URL is not valid"),
        ("$HOOK=hooks.example.com/secret", "$HOOK cannot be run (No such file or directory)"),
        ("$HOOK=sh -c 'exit 3' secret", "$HOOK ended with exit code 3"),
        ("${HOOK}='secret", "${HOOK} must be a command or a URL"),
        ("$HOOK=", "$HOOK must be a command or a URL"),
    ],
)
def test_a_hook_that_fails_is_one_warning_without_secrets(hook, problem, monkeypatch):
    monkeypatch.setattr(run_end, "LIMIT", 0.5)
    if "HOOK" in hook and "=" in hook:
        hook, _, value = hook.partition("=")
        monkeypatch.setenv("HOOK", value)
    text = run_end._tell(hook, "{}")
    assert problem in text and "\n" not in text and "secret" not in text


def test_a_url_is_told_by_a_request(monkeypatch):
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Content-Type"], json.loads(content)))
            self.send_response(200 if self.path == "/right" else 404)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setitem(os.environ, "DEMO_HOOK", f"{url}/right")
        assert run_end._tell("$DEMO_HOOK", '{"state": "done"}') is None
        assert run_end._tell(f"{url}/wrong", "{}") == "127.0.0.1 answered 404"
        server.shutdown()
    assert received[0] == ("/right", "application/json", {"state": "done"})


def test_passwords_are_neither_accepted_nor_told(tmp_path, told):
    with pytest.raises(SpaceError, match=r"must not contain a password.*on_end: \$NAME"):
        make_space(TREE | {"on_end": "https://me:secret@host/hook"})
    space = make_space(TREE | {"on_end": told[0]})
    policy = launch.policy_of(space)
    run_end.tell_end(space, Run(tmp_path / "demo"), policy, Outcome("s3://key:secret@host/bucket is full"))
    assert told[1]()["reason"] == "s3://key:***@host/bucket is full"
