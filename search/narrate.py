"""What a run says while it goes on: one plain line per event, and how it ended."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

from search.feed import Outcome
from search.policy import Policy
from search.run_folder import Run
from trainable.commands import INTERRUPTED
from trainable.printing import print_table, say

FAILED, BUDGET = 1, 3


class Lines:
    """A line for each event; scores with four digits, reasons in the policy's own words."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def __call__(self, event: str, facts: Mapping[str, Any]) -> None:
        minutes, seconds = divmod(round(time.monotonic() - self.began), 60)
        say(f"{minutes}:{seconds:02d}  {facts['config']} fold {facts['fold']}  {_words(event, facts)}")


def close(run: Run, policy: Policy, outcome: Outcome, words: Sequence[str]) -> int:
    """Say what came of it and name the next step; the exit code."""
    board, answer = policy.board, policy.answer()
    spent = f"{board.spent / 3600:.3f} GPU-hours"
    say(f"{outcome.reason}: {spent}, {len(board.failed)} of {len(board.entrants)} configs failed")
    if outcome.interrupted or outcome.budget_spent:
        hours = board.budget / 3600 if board.exhausted and board.budget else None
        say_how_to_go_on(words, outcome.more if hours is None else f"budget.gpu_hours={2 * hours:g}")
        return INTERRUPTED if outcome.interrupted else BUDGET
    if answer.winner is None:
        say("no config has all folds, so there is no winner")
    else:
        print_table([_row(policy, config, config == answer.winner) for config in answer.peers])
        others = len(answer.peers) - 1
        rest = (
            f"the {others} others above cannot be told from it"
            if others > 1
            else "the other one cannot be told from it"
        )
        say(f"The winner is {answer.winner}; {rest if others else 'all others can be told from it'}.")
    say(f"Next: python -m search status {run.folder}")
    return FAILED if board.failed else 0


def say_how_to_go_on(words: Sequence[str], more: str = "") -> None:
    say("Nothing is lost. To go on:")
    say(f"  python -m search {shlex.join([*words, *(['--set', more] if more else [])])}")


def _row(policy: Policy, config: str, wins: bool) -> dict[str, Any]:
    scores = policy.board.scores(config)
    mean = sum(scores) / len(scores) if scores else None
    parameters = {name: str(value) for name, value in policy.board.entrants[config].parameters.items()}
    return {"config": config, "": "winner" if wins else "", "folds": len(scores), "mean": mean, **parameters}


def _words(event: str, facts: Mapping[str, Any]) -> str:
    if event == "job":
        return f"trains until step {facts['until']}"
    if event == "report":
        score = f"step {facts['step']}  {facts['score']:.4f}"
        return f"{score}  {facts['stop']}" if facts["stop"] else score
    if event == "fault":
        return f"is tried again: {facts['fault']}"
    return f"failed for good: {facts['fault']}"
