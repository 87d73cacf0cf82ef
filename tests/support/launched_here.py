"""Searches of scripted fold trials that are launched in this process, without Ray: one fold trial after the other."""

from pathlib import Path

from typer.testing import CliRunner

from search.__main__ import app
from search.engine.job_feed import JobFeed
from trainable.errors import FoldFailed
from trainable.machine.allotment import Allotment
from trainable.scripted import Script, run_script


def run_study_here(study, values, settings, target, listeners, shipment=None, measure=None):
    """Takes the place of ``run_study`` in a launch."""
    feed = JobFeed(study, values, settings, lambda: [Allotment(1.0, 0.0, 1)], listeners)
    count = 0
    while isinstance(job := feed.next(f"t{count}"), dict):
        trial, count = f"t{count}", count + 1
        script = Script(**{name: value for name, value in job["values"].items() if name in Script.model_fields})
        for result in _results(run_script(script, job["fold"], Path(job["folder"]), job["until"])):
            if not feed.result(trial, result):
                break
        else:
            feed.result(trial, {"ended": True})
    feed.ending.raise_error()
    return feed.ending.outcome


def _results(reports):
    try:
        yield from reports
    except FoldFailed as failure:
        yield {"failed": failure.reason, "message": str(failure)}


def use_here(monkeypatch, plan=False):
    """Launch in this process from now on; returns a function that runs a command of the search."""
    from search.commands import launch, launch_checks

    monkeypatch.setattr(launch, "run_study", run_study_here)
    if not plan:
        monkeypatch.setattr(launch_checks, "show_first", lambda *given, **more: None)

    return run_here


def run_here(*words):
    """Run a command of the search in this process; its errors are raised."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done
