"""The plain output of a run: one line per event, and its outcome."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from search.engine.listeners import Outcome, write_stderr
from search.policies.contract import Policy
from search.race.answer import Assessment
from search.runs.journal import Line
from search.runs.run_folder import Run
from search.runs.status import device_of
from search.terminal.answer_text import COLUMNS, certainty, set_sentences
from search.terminal.snapshot import clock
from trainable.exit_codes import INTERRUPTED
from trainable.printing import device_time, digits, plural, print_table, say, value_text

FAILED, BUDGET = 1, 3
END_COLUMNS = (COLUMNS[0], COLUMNS[-1])  # of what is known of a config, which fit a terminal


class PlainView:
    """Prints one line per event; ``history`` includes the events before the view was opened."""

    def __init__(self, history: bool = False) -> None:
        self.history = history
        self._began = 0.0

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to close."""

    def catch_up(self, lines: Sequence[Line]) -> None:
        for line in lines:
            self._print(line, self.history)

    def show(self, lines: Sequence[Line]) -> None:
        for line in lines:
            self._print(line, self.history or line.kind != "dropped")  # a launch itself says how much it has removed

    def set_driven(self, driven: bool) -> None:
        """The end of a run is a record of its own; the death of a driver is not shown."""

    def notice(self, text: str) -> None:
        write_stderr(text)

    def _print(self, line: Line, visible: bool) -> None:
        if line.kind == "begin":
            self._began = line.at
        text = describe(line)
        if text and visible:
            say(f"{clock(line.at - self._began)}  {text}")


def describe(line: Line) -> str | None:
    """The text for a record of the journal; None if it is not shown."""
    fields = line.fields
    if line.kind == "begin":
        return f"driver started on {fields['host']}" if "host" in fields else None
    if line.kind == "end":
        return f"ended: {fields['reason']}"
    if line.kind in _RUN_EVENTS:
        return _RUN_EVENTS[line.kind](fields)
    describe_fold = _FOLD_EVENTS.get(line.kind)
    return f"{fields['config']} fold {fields['fold']}  {describe_fold(fields)}" if describe_fold else None


def exit_code(policy: Policy, outcome: Outcome) -> int:
    if outcome.interrupted or outcome.budget_spent:
        return INTERRUPTED if outcome.interrupted else BUDGET
    return FAILED if policy.score_table.failed else 0


def print_outcome(run: Run, policy: Policy, outcome: Outcome, arguments: Sequence[str]) -> int:
    """Print the outcome of a launch and the next command; returns the exit code."""
    score_table, found = policy.score_table, policy.assess()
    spent = device_time(score_table.spent, device_of(run.space(), run.lines()))
    configs = plural(len(score_table.entrants), "config")
    say(f"{outcome.reason}: {spent}, {len(score_table.failed)} of {configs} failed")
    if outcome.interrupted or outcome.budget_spent:
        hours = score_table.budget / 3600 if score_table.exhausted and score_table.budget else None
        print_resume_command(arguments, outcome.override if hours is None else f"budget.gpu_hours={2 * hours:g}")
        return exit_code(policy, outcome)
    if found.winner is None:
        say("no config is complete, so there is no winner")
    else:
        print_table([_row(policy, found, config) for config in found.peers])
        for sentence in (f"The winner is {found.winner}.", *set_sentences(found)):
            say(sentence)
    if policy.earlier_rules:
        say(f"{run.address}: {policy.earlier_rules}")
    say(f"Next: python -m analysis report {run.address}")
    return exit_code(policy, outcome)


def print_finished(run: Run, policy: Policy, outcome: Outcome, config: str, arguments: Sequence[str]) -> int:
    """Print what has become of a config that a person chose, and the next command; returns the exit code."""
    config = next(each for each in policy.score_table.entrants if each.startswith(config))
    say(outcome.reason)
    if outcome.interrupted:
        print_resume_command(arguments)
        return INTERRUPTED
    if config in policy.score_table.failed:
        return FAILED
    print_table([_row(policy, policy.assess(), config)])
    say(f"Next: python -m analysis ensemble {run.address} --config {config}")
    return 0


def print_resume_command(arguments: Sequence[str], override: str = "") -> None:
    say("All reports are saved. To resume:")
    words = [word for word in arguments if word != "--recover"]  # the journal has been rebuilt
    if override:
        words = [*_without_assignment(words, override.partition("=")[0]), "--set", override]
    say(f"  python -m search {shlex.join(words)}")


def _without_assignment(words: list[str], key: str) -> list[str]:
    """The arguments without the options that set this key of the space."""
    kept: list[str] = []
    for word in words:
        assigned = word.removeprefix("--set=")
        if assigned.partition("=")[0].strip() == key and (assigned != word or kept[-1:] == ["--set"]):
            del kept[len(kept) - (assigned == word) :]
        else:
            kept.append(word)
    return kept


def _row(policy: Policy, found: Assessment, config: str) -> dict[str, Any]:
    table = policy.score_table
    scores = [table.shown(score) for score in table.scores(config)]
    mean = sum(scores) / len(scores) if scores else None
    parameters = {name: value_text(value) for name, value in table.entrants[config].parameters.items()}
    certain = certainty(found.standings[config]) if config in found.standings else {}
    known = {name: certain[name] for name in END_COLUMNS if name in certain}
    place = "winner" if config == found.winner else ""
    return {"config": config, "": place, "folds": len(scores), "mean": mean, **known, **parameters}


def _reported(fields: Mapping[str, Any]) -> str:
    if not math.isfinite(fields["score"]):
        return str(fields.get("stop", "failed: its score is not a number"))
    score = f"step {fields['step']}  {digits(fields['score'])}"
    return f"{score}  {fields['stop']}" if "stop" in fields else score


_RUN_EVENTS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "space": lambda fields: f"the space has changed: {'; '.join(fields['changes'])}",
    "dropped": lambda fields: (
        f"removed the weights of {plural(len(fields['configs']), 'config')}, keep: {fields['keep']}"
    ),
    "finish": lambda fields: f"config {fields['config']} is to be finished",
}
_FOLD_EVENTS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "job": lambda fields: f"assigned: train until step {fields['until']}",
    "report": _reported,
    "stop": lambda fields: str(fields["reason"]),
    "lost": lambda fields: f"job returned: {fields['fault']}",
    "fault": lambda fields: f"fault: {fields['fault']}",
    "retrained": lambda fields: f"trained again in {fields['seconds']:.0f} s",
    "held": lambda fields: "waits for the encoder that another fold trial is pre-training",
    "pretraining": lambda fields: (
        f"{'pre-trained its encoder' if fields['made'] else 'pre-training, to be resumed'} "
        f"in {digits(fields['seconds'])} s"
    ),
}
