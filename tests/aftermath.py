"""What a run came to after whatever was done to it: nothing told twice, nothing lost, nothing decided otherwise."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from search.run_folder import Run
from search.schedulers import policy_of
from search.study import replay_lines, verdicts


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
        made |= {(config, fold, step) for step in policy.board.entrants[config].steps if step <= last}
    winner = policy.answer().winner
    return Aftermath(
        reports=sum(told.values()),
        lost=sorted(made - set(told)),
        doubled=sorted(report for report, times in told.items() if times > 1),
        decided_otherwise=len(verdicts(policy_of(space), lines)),
        winner=None if winner is None else dict(policy.board.entrants[winner].parameters),
        ended=bool(lines) and lines[-1].kind == "end",
    )
