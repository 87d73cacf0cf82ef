"""What a run says while it goes on: one plain line per event, and how it ended."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from search.engine.listeners import Outcome, write_stderr
from search.policies.contract import Policy
from search.runs.journal import Line
from search.runs.run_folder import Run
from search.terminal.snapshot import clock
from trainable.exit_codes import INTERRUPTED
from trainable.printing import print_table, say

FAILED, BUDGET = 1, 3


class PlainView:
    """A line for each event; scores with four digits, reasons in the policy's own words.

    ``history`` tells also of what was before.
    """

    def __init__(self, history: bool = False) -> None:
        self.history = history
        self._began = 0.0

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is open."""

    def catch_up(self, lines: Sequence[Line]) -> None:
        for line in lines:
            self._tell(line, self.history)

    def show(self, lines: Sequence[Line]) -> None:
        for line in lines:
            self._tell(line, True)

    def look(self, driven: bool) -> None:
        """An end is a line of the journal; who died leaves none."""

    def notice(self, text: str) -> None:
        write_stderr(text)

    def _tell(self, line: Line, aloud: bool) -> None:
        if line.kind == "begin":
            self._began = line.at
        words = describe(line)
        if words and aloud:
            say(f"{clock(line.at - self._began)}  {words}")


def describe(line: Line) -> str | None:
    """What a line of the journal says to people; None where it says nothing new."""
    fields = line.fields
    if line.kind == "begin":
        return f"a driver is at work on {fields['host']}" if "host" in fields else None
    if line.kind == "end":
        return f"ended: {fields['reason']}"
    said = _SAID.get(line.kind)
    return f"{fields['config']} fold {fields['fold']}  {said(fields)}" if said else None


def print_outcome(run: Run, policy: Policy, outcome: Outcome, words: Sequence[str]) -> int:
    """Say what came of it and name the next step; the exit code."""
    score_table, answer = policy.score_table, policy.answer()
    spent = f"{score_table.spent / 3600:.3f} GPU-hours"
    say(f"{outcome.reason}: {spent}, {len(score_table.failed)} of {len(score_table.entrants)} configs failed")
    if outcome.interrupted or outcome.budget_spent:
        hours = score_table.budget / 3600 if score_table.exhausted and score_table.budget else None
        print_resume_command(words, outcome.override if hours is None else f"budget.gpu_hours={2 * hours:g}")
        return INTERRUPTED if outcome.interrupted else BUDGET
    if answer.winner is None:
        say("no config has all folds, so there is no winner")
    else:
        print_table([_row(policy, config, config == answer.winner) for config in answer.peers])
        others = len(answer.peers) - 1
        rest = f"the {others} others above may be as good" if others > 1 else "the other one may be as good"
        say(f"The winner is {answer.winner}; {rest if others else 'no other is likely to be as good'}.")
    say(f"Next: python -m analysis report {run.address}")
    return FAILED if score_table.failed else 0


def print_resume_command(words: Sequence[str], more: str = "") -> None:
    say("Nothing is lost. To go on:")
    say(f"  python -m search {shlex.join([*words, *(['--set', more] if more else [])])}")


def _row(policy: Policy, config: str, wins: bool) -> dict[str, Any]:
    scores = policy.score_table.scores(config)
    mean = sum(scores) / len(scores) if scores else None
    parameters = {name: str(value) for name, value in policy.score_table.entrants[config].parameters.items()}
    return {"config": config, "": "winner" if wins else "", "folds": len(scores), "mean": mean, **parameters}


def _reported(fields: Mapping[str, Any]) -> str:
    if math.isnan(fields["score"]):
        return str(fields.get("stop", "failed: its score is not a number"))
    score = f"step {fields['step']}  {fields['score']:.4f}"
    return f"{score}  {fields['stop']}" if "stop" in fields else score


_SAID: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "job": lambda fields: f"trains until step {fields['until']}",
    "report": _reported,
    "stop": lambda fields: str(fields["reason"]),
    "lost": lambda fields: f"gave its job back: {fields['fault']}",
    "fault": lambda fields: f"fault: {fields['fault']}",
}
