"""The answer in machine-readable form: selection.json and the rows of summary.csv."""

import math
from dataclasses import asdict
from typing import Any

from analysis.answer.published import documents, published_figures
from analysis.answer.score_basis import basis, validation_scores
from analysis.answer.selection import Selection, plain, plain_row
from analysis.statistics.bootstrap import CorrectedScore
from search.runs.run_tables import RunTables
from search.terminal.answer_text import document as standing_document

CERTAINTY = ("expected", "low", "high", "chance_these_folds", "chance_any_folds")


def document(tables: RunTables, selection: Selection) -> dict[str, Any]:
    """The document of selection.json."""
    winner, found = selection.winner, selection.assessment
    chosen = None
    if winner is not None:
        chosen = {
            "id": winner.config,
            "config": full_config(tables, winner.config),
            "values": dict(winner.values),
            "mean": winner.mean,
            "sd": plain(winner.sd),
            "folds": list(winner.folds),
            "tied_with": list(winner.tied),
        }
    return {
        "run": tables.run.name,
        "state": tables.status.state,
        "metric": tables.metric,
        "goal": tables.space.settings.metric.goal,
        "earlier_rules": bool(tables.status.policy.earlier_rules),
        "winner": chosen,
        "set": [_member(tables, selection, config) for config in selection.peers],
        "corrected": _corrected_document(selection.corrected),
        "comparisons": [plain_row(asdict(each)) for each in selection.comparisons],
        "default": selection.default,
        "noise": {"fold_trial_sd": plain(found.noise), "config_sd": plain(found.spread)},
        "incomplete": [plain_row(asdict(each)) for each in selection.incomplete],
        "gpu_seconds": tables.status.score_table.spent,
        "notes": list(selection.notes),
    } | _basis(tables, selection)


def _basis(tables: RunTables, selection: Selection) -> dict[str, Any]:
    """What scores are of, apart from masks of held-out images."""
    found: dict[str, Any] = {**basis(tables)}
    if tables.space.settings.validation is not None:
        winner = selection.winner
        scores = [] if winner is None else validation_scores(tables, winner.config)
        found["validation"] = {"split": tables.space.settings.validation, "folds": scores}
    if tables.space.settings.references:
        found["references"] = documents(published_figures(tables))
    return found


def full_config(tables: RunTables, config: str) -> dict[str, Any]:
    """Every hyperparameter of a config, as recorded when the config was added."""
    return dict(tables.run.config(config)["config"])


def summary_rows(tables: RunTables, selection: Selection) -> list[dict[str, Any]]:
    """The rows of summary.csv: one per config, best first."""
    places = {config: place for place, config in enumerate(selection.assessment.standings)}
    counted = tables.trials.groupby("config")["full"].agg(["count", "mean", "std"])
    rows = []
    for row in tables.configs.to_dict("records"):
        config = row["config"]
        known = config in counted.index
        rows.append(
            {
                "config": config,
                "place": "winner" if selection.peers[:1] == (config,) else "set" if config in selection.peers else "",
                "folds": int(counted.loc[config, "count"]) if known else 0,
                "mean": plain(counted.loc[config, "mean"]) if known else None,
                "sd": plain(counted.loc[config, "std"]) if known else None,
                **_certainty(selection, config),
                "seconds": row["seconds"],
                **{name: plain(row[name]) for name in tables.parameters},
            }
        )
    return sorted(rows, key=lambda row: (row["place"] != "winner", places.get(row["config"], math.inf)))


def _certainty(selection: Selection, config: str) -> dict[str, Any]:
    """The expected mean with its interval, and the chances; null where unknown."""
    standing = selection.assessment.standings.get(config)
    return dict.fromkeys(CERTAINTY) if standing is None else standing_document(standing)


def _member(tables: RunTables, selection: Selection, config: str) -> dict[str, Any]:
    row = tables.configs.set_index("config").loc[config]
    scores = tables.full().loc[config].dropna()
    known = _certainty(selection, config)
    return {
        "id": config,
        "values": {name: plain(row[name]) for name in tables.parameters},
        "folds": len(scores),
        "mean": plain(scores.mean()) if len(scores) else None,
        "expected": known["expected"],
        "interval": [known["low"], known["high"]],
        "chance_these_folds": known["chance_these_folds"],
        "chance_any_folds": known["chance_any_folds"],
    }


def _corrected_document(corrected: CorrectedScore | None) -> dict[str, Any] | None:
    if corrected is None:
        return None
    keys = ("naive", "estimate", "low", "high", "optimism")
    return {key: plain(getattr(corrected, key)) for key in keys}
