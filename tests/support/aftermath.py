"""What a run came to after whatever was done to it: nothing told twice, nothing lost, nothing decided otherwise."""

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

PATIENCE = 120.0  # seconds until a condition is given up, on a busy machine


@dataclass(frozen=True)
class Aftermath:
    """``lost`` are reports that a fold trial has made and the journal lacks, ``doubled`` those that it has twice."""

    reports: int
    lost: list[tuple[str, int, int]]
    doubled: list[tuple[str, int, int]]
    decided_otherwise: int
    winner: dict[str, Any] | None
    ended: bool


def aftermath(run: Run) -> Aftermath:
    lines = run.lines()
    space = run.space()
    told = Counter(
        (line.fields["config"], line.fields["fold"], line.fields["step"]) for line in lines if line.kind == "report"
    )
    policy = policy_of(space)
    replay_lines(policy, lines)
    made = set()
    for path in run.folder.glob("configs/*/fold_*/metrics.jsonl"):
        cell = path.parents[1].name, int(path.parent.name.removeprefix("fold_"))
        made |= {(*cell, json.loads(line)["step"]) for line in path.read_text().splitlines()}
    for config, fold, last in told:  # those before it were made too, whether or not their line got to the disk
        made |= {(config, fold, step) for step in policy.score_table.entrants[config].steps if step <= last}
    winner = policy.answer().winner
    return Aftermath(
        reports=sum(told.values()),
        lost=sorted(made - set(told)),
        doubled=sorted(report for report, times in told.items() if times > 1),
        decided_otherwise=len(verdicts(policy_of(space), lines)),
        winner=None if winner is None else dict(policy.score_table.entrants[winner].parameters),
        ended=bool(lines) and lines[-1].kind == "end",
    )


def check_end(run: Run, best: float) -> Aftermath:
    """It came to the end of an undisturbed search, and the journal tells it as if there had been none other."""
    after = aftermath(run)
    assert after.ended and after.winner is not None and after.winner["quality"] == best
    assert after.reports and not after.lost and not after.doubled
    assert after.decided_otherwise == 0, "the journal gives other decisions than were taken"
    return after


def faults(run: Run) -> list[str]:
    return [line.fields["fault"] for line in run.lines() if line.kind == "fault"]


def wait_for(condition: Callable[[], Any], driver: subprocess.Popen[Any], talk: Callable[[], str]) -> Any:
    """Until something comes true, while the driver of a search is at work."""
    limit = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert driver.poll() is None, talk()
        assert time.monotonic() < limit, "never comes true"
        time.sleep(0.05)
    return found
