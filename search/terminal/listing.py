"""What ``status`` and ``list`` print of where a run stands: for machines, as rows, and in a line."""

from __future__ import annotations

import math
from typing import Any

from search.runs.fold_states import STATES
from search.runs.run_folder import Run
from search.runs.status import Status, status_of

COLUMNS = ("config", "fold", "state", "step", "of", "score", "seconds", "faults", "reason")
COUNTS = ("run", "state", "configs", *STATES, "gpu_seconds", "leader")


def document(status: Status) -> dict[str, Any]:
    """For JSON."""
    return {
        "state": status.state,
        "configs": len(status.score_table.entrants),
        "trials": {state: status.count(state) for state in STATES}
        | {"faults": sum(trial.faults for trial in status.trials.values())},
        "gpu_seconds": status.score_table.spent,
        "leader": status.leader,
        "peers": list(status.policy.answer().peers) if status.leader else [],
    }


def summary(status: Status) -> str:
    """One line for people."""
    counts = ", ".join(f"{status.count(state)} {state}" for state in STATES)
    leader = status.leader
    told = "" if leader is None else f", leader {leader['id']}"
    if leader is not None and leader["mean"] is not None:
        told += f" with {leader['mean']:.4f} on {leader['folds']} folds"
    configs = len(status.score_table.entrants)
    return f"{status.state}; {configs} configs, fold trials: {counts}; {status.score_table.spent:.0f} s{told}"


def overview(run: Run) -> dict[str, Any]:
    """One row of a list of runs."""
    status = status_of(run)
    leader = status.leader
    return {
        "run": run.name,
        "state": status.state,
        "configs": len(status.score_table.entrants),
        **{state: status.count(state) for state in STATES},
        "gpu_seconds": round(status.score_table.spent, 1),
        "leader": leader["id"] if leader else None,
    }


def rows(status: Status) -> list[dict[str, Any]]:
    """A row per fold trial that was ever handed out."""
    return [
        {
            "config": config,
            "fold": fold,
            "state": trial.state,
            "step": trial.step,
            "of": status.score_table.entrants[config].horizon,
            "score": None if math.isnan(trial.score) else trial.score,
            "seconds": round(trial.seconds, 1),
            "faults": trial.faults,
            "reason": status.reason(config, fold),
        }
        for (config, fold), trial in sorted(status.trials.items())
    ]
