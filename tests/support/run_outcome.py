"""The outcome of a run after faults: reports lost or recorded twice, decisions that changed, the winner."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from search.policies.registry import policy_of
from search.runs.run_folder import Run
from search.runs.study import replay_lines, verdicts

PATIENCE = 120.0  # seconds to wait for a condition on a busy machine


@dataclass(frozen=True)
class RunOutcome:
    """``lost`` are reports that a fold trial made and the journal lacks, ``duplicated`` those that it has twice."""

    reports: int
    lost: list[tuple[str, int, int]]
    duplicated: list[tuple[str, int, int]]
    changed_decisions: int
    winner: dict[str, Any] | None
    ended: bool


def outcome_of(run: Run) -> RunOutcome:
    lines = run.lines()
    space = run.space()
    recorded = Counter(
        (line.fields["config"], line.fields["fold"], line.fields["step"]) for line in lines if line.kind == "report"
    )
    policy = policy_of(space)
    replay_lines(policy, lines)
    made = set()
    for path in run.folder.glob("configs/*/fold_*/metrics.jsonl"):
        cell = path.parents[1].name, int(path.parent.name.removeprefix("fold_"))
        made |= {(*cell, json.loads(line)["step"]) for line in path.read_text().splitlines()}
    for config, fold, last in recorded:  # earlier steps were reported too, even if metrics.jsonl lacks them
        made |= {(config, fold, step) for step in policy.score_table.entrants[config].steps if step <= last}
    winner = policy.answer().winner
    return RunOutcome(
        reports=sum(recorded.values()),
        lost=sorted(made - set(recorded)),
        duplicated=sorted(report for report, times in recorded.items() if times > 1),
        changed_decisions=len(verdicts(policy_of(space), lines)),
        winner=None if winner is None else dict(policy.score_table.entrants[winner].parameters),
        ended=bool(lines) and lines[-1].kind == "end",
    )


def check_end(run: Run, best: float) -> RunOutcome:
    """Check that the run ended with the best config, and that replaying the journal gives the same decisions."""
    outcome = outcome_of(run)
    assert outcome.ended and outcome.winner is not None and outcome.winner["quality"] == best
    assert outcome.reports and not outcome.lost and not outcome.duplicated
    assert outcome.changed_decisions == 0, "replaying the journal gives other decisions"
    return outcome


def faults(run: Run) -> list[str]:
    return [line.fields["fault"] for line in run.lines() if line.kind == "fault"]


def wait_for(condition: Callable[[], Any], driver: subprocess.Popen[Any], stderr: Callable[[], str]) -> Any:
    """Wait until a condition is true while the driver of a search runs; returns its value."""
    limit = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert driver.poll() is None, stderr()
        assert time.monotonic() < limit, "the condition did not become true"
        time.sleep(0.1)
    return value
