"""The output of ``status`` and ``list``: a JSON document, rows and a summary line."""

import math
from typing import Any

from search.runs.fold_states import STATES
from search.runs.run_folder import Run
from search.runs.status import Status, status_of
from search.terminal.answer_text import document as standing_document
from search.terminal.answer_text import set_sentences
from trainable.errors import UserError
from trainable.printing import digits, plural

COLUMNS = ("config", "fold", "state", "step", "of", "score", "seconds", "faults", "reason")
COUNTS = ("run", "state", "configs", *STATES, "gpu_seconds", "leader")


def document(status: Status) -> dict[str, Any]:
    """The JSON document of ``status``."""
    standings = status.assessment.standings.values()
    return {
        "state": status.state,
        "configs": len(status.score_table.entrants),
        "trials": {state: status.count(state) for state in STATES}
        | {"faults": sum(trial.faults for trial in status.trials.values())},
        "gpu_seconds": status.score_table.spent,
        "unchecked_records": status.unchecked,
        "pretraining": {"encoders": status.encoders, "gpu_seconds": status.pretraining_seconds},
        "earlier_rules": bool(status.policy.earlier_rules),
        "leader": status.leader,
        "peers": list(status.assessment.peers),
        "standings": [{"config": each.config, "folds": each.folds, **standing_document(each)} for each in standings],
    }


def summary(status: Status) -> str:
    """The line above the table of ``status``."""
    counts = ", ".join(f"{status.count(state)} {state}" for state in STATES)
    leader = status.leader
    best = "" if leader is None else f", leader {leader['id']}"
    if leader is not None and leader["mean"] is not None:
        best += f" with {digits(leader['mean'])} on {plural(leader['folds'], 'fold')}"
    if status.assessment.winner is not None:
        best += f". {' '.join(set_sentences(status.assessment)).removesuffix('.')}"
    if status.policy.earlier_rules:
        best += f"; {status.policy.earlier_rules}"
    configs = plural(len(status.score_table.entrants), "config")
    spent = f"{status.score_table.spent:.0f} s"
    if status.pretraining_seconds:
        spent += f", {status.pretraining_seconds:.0f} s of it pre-training {plural(status.encoders, 'encoder')}"
    unchecked = ""
    if status.unchecked:
        unchecked = f"; {plural(status.unchecked, 'record')} of an older version without a checksum"
    return f"{status.state}; {configs}, fold trials: {counts}; {spent}{best}{unchecked}"


def overview(run: Run) -> dict[str, Any]:
    """The row of a run in ``list``."""
    status = status_of(run)
    leader = status.leader
    return {
        "run": run.name,
        "state": status.state,
        "configs": len(status.score_table.entrants),
        **{state: status.count(state) for state in STATES},
        "gpu_seconds": status.score_table.spent,
        "leader": leader["id"] if leader else None,
    }


def unreadable(run: Run, problem: UserError) -> dict[str, Any]:
    """The row in ``list`` of a run that cannot be read."""
    return {**dict.fromkeys(COUNTS), "run": run.name, "state": f"cannot be read: {problem}"}


def rows(status: Status) -> list[dict[str, Any]]:
    """One row per fold trial that was ever assigned."""
    return [
        {
            "config": config,
            "fold": fold,
            "state": trial.state,
            "step": trial.step,
            "of": status.score_table.entrants[config].horizon,
            "score": None if math.isnan(trial.score) else trial.score,
            "seconds": trial.seconds,
            "faults": trial.faults,
            "reason": status.reason(config, fold),
        }
        for (config, fold), trial in sorted(status.trials.items())
    ]
