"""The end of a run: a failure is recorded, and the command or URL of ``on_end`` learns the outcome."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from search.engine.listeners import Outcome
from search.policies.contract import Policy
from search.runs.run_folder import SPACE, Run
from search.runs.study import Study
from search.terminal.plain_view import BUDGET, FAILED, exit_code
from spaces.space import Space
from spaces.yaml_file.problems import without_passwords
from trainable.errors import UserError
from trainable.exit_codes import INTERRUPTED, WRONG
from trainable.printing import say

LIMIT = 10.0  # seconds, after which the hook is given up
URL = ("http://", "https://")
NAME = re.compile(r"\$(\w+|\{\w+\})")  # of a variable that holds the whole hook
STATES = {
    0: "done",
    FAILED: "done, some configs failed",
    BUDGET: "budget spent",
    INTERRUPTED: "interrupted",
    WRONG: "failed",
}


@contextmanager
def removed_unless_begun(run: Run) -> Iterator[None]:
    """Remove the folder of a new run whose launch fails before it begins.

    ``check_run`` found nothing else in it, and the journal is locked, so it belongs to no other launch.
    """
    new = not (run.folder / SPACE).exists()
    try:
        yield
    except UserError:
        if new and "store" not in run.job_settings and not run.lines():
            shutil.rmtree(run.folder, ignore_errors=True)
        raise


@contextmanager
def failure_recorded(study: Study) -> Iterator[None]:
    """Record an error that ends the run, so that its state says why."""
    try:
        yield
    except Exception as error:
        with suppress(UserError):  # if the disk is full, the first error is the one to report
            study.journal.append("end", reason=failure_reason(error))
        raise


def failure_reason(error: Exception) -> str:
    first_line = str(error).partition("\n")[0]
    return f"failed: {'' if isinstance(error, UserError) else f'{type(error).__name__}: '}{first_line}"


def tell_end(space: Space, run: Run, policy: Policy, outcome: Outcome, code: int | None = None) -> None:
    """Tell the hook of the space, if it has one. Nothing that it does can delay the run for long or fail it."""
    hook = space.settings.on_end
    if hook is None:
        return
    text = json.dumps(without_passwords(document(space, run, policy, outcome, code)))
    if (problem := _tell(hook, text)) is not None:
        say(f"warning: on_end: {problem}")


def document(space: Space, run: Run, policy: Policy, outcome: Outcome, code: int | None = None) -> dict[str, Any]:
    """What the hook receives."""
    table, winner = policy.score_table, policy.answer().winner
    code = exit_code(policy, outcome) if code is None else code
    scores = [] if winner is None else [table.shown(score) for score in table.scores(winner)]
    return {
        "run": run.name,
        "address": run.address,
        "state": STATES[code],
        "exit_code": code,
        "reason": outcome.reason,
        "configs": len(table.entrants),
        "failed": len(table.failed),
        "gpu_seconds": table.spent,
        "metric": space.settings.metric.name,
        "winner": None
        if winner is None
        else {
            "id": winner,
            "mean": sum(scores) / len(scores) if scores else None,
            "values": dict(table.entrants[winner].parameters),
        },
    }


def _tell(hook: str, text: str) -> str | None:
    """Run the command or call the URL; what went wrong, in words that repeat no secret of the environment."""
    written = shlex.split(hook)
    words = [os.path.expandvars(word) for word in written]
    if unset := [word for word in words if word.startswith("$")]:
        return f"the environment has no {unset[0].strip('${}')}"
    if NAME.fullmatch(hook.strip()) and not words[0].startswith(URL):
        try:
            words = shlex.split(words[0])
        except ValueError:
            words = []
    if not words:
        return f"{written[0]} must be a command or a URL"
    problems: list[str | None] = [f"did not end within {LIMIT:g} s and was given up"]

    def work() -> None:
        problems.append(_call(words[0], text) if words[0].startswith(URL) else _run(words, text, written[0]))

    thread = threading.Thread(target=work, name="on_end", daemon=True)
    thread.start()
    thread.join(LIMIT + 1.0)  # a command is stopped after the limit, a URL is left to the thread
    return problems[-1]


def _run(words: Sequence[str], text: str, name: str) -> str | None:
    """``name`` is the command as the space has it, for messages."""
    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, text=True, start_new_session=True
        )
    except OSError as error:
        return f"{name} cannot be run ({error.strerror})"
    try:
        process.communicate(text, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"{name} did not end within {LIMIT:g} s and was stopped"
    return None if process.returncode == 0 else f"{name} ended with exit code {process.returncode}"


def _call(url: str, text: str) -> str | None:
    try:
        host = urlsplit(url).hostname
        request = Request(url, text.encode(), {"Content-Type": "application/json"})
    except ValueError:
        return "its URL is not valid"
    try:
        with urlopen(request, timeout=LIMIT):
            return None
    except HTTPError as error:
        return f"{host} answered {error.code}"
    except (URLError, HTTPException, OSError, ValueError) as error:
        return f"{host} cannot be reached ({getattr(error, 'reason', type(error).__name__)})"
