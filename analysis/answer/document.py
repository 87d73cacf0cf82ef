"""The answer in machine-readable form: selection.json and the rows of summary.csv."""

import math
from dataclasses import asdict
from typing import Any

from analysis.answer.published import documents, published_figures
from analysis.answer.score_basis import basis, validation_scores
from analysis.answer.selection import Selection, plain
from analysis.statistics.bootstrap import CorrectedScore
from search.runs.run_tables import RunTables


def document(tables: RunTables, selection: Selection) -> dict[str, Any]:
    """The document of selection.json."""
    winner = selection.winner
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
        "winner": chosen,
        "set": [_member(tables, selection, config) for config in selection.peers],
        "corrected": _corrected_document(selection.corrected),
        "comparisons": [{key: plain(value) for key, value in asdict(each).items()} for each in selection.comparisons],
        "default": selection.default,
        "noise": {"fold_trial_sd": plain(selection.effects.noise), "config_sd": plain(selection.effects.spread)},
        "incomplete": [{key: plain(value) for key, value in asdict(each).items()} for each in selection.incomplete],
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
    effects = selection.effects.table
    counted = tables.trials.groupby("config")["full"].agg(["count", "mean", "std"])
    rows = []
    for row in tables.configs.to_dict("records"):
        config = row["config"]
        shrunken = effects.loc[config] if config in effects.index else None
        known = config in counted.index
        rows.append(
            {
                "config": config,
                "place": "winner" if selection.peers[:1] == (config,) else "set" if config in selection.peers else "",
                "folds": int(counted.loc[config, "count"]) if known else 0,
                "mean": plain(counted.loc[config, "mean"]) if known else None,
                "sd": plain(counted.loc[config, "std"]) if known else None,
                "expected": None if shrunken is None else plain(shrunken["score"]),
                "low": None if shrunken is None else plain(shrunken["low"]),
                "high": None if shrunken is None else plain(shrunken["high"]),
                "best": None if shrunken is None else plain(shrunken["best"]),
                "seconds": row["seconds"],
                **{name: plain(row[name]) for name in tables.parameters},
            }
        )
    return sorted(rows, key=lambda row: (row["place"] != "winner", -(row["expected"] or -math.inf)))


def _member(tables: RunTables, selection: Selection, config: str) -> dict[str, Any]:
    row = tables.configs.set_index("config").loc[config]
    scores = tables.full().loc[config].dropna()
    effect = selection.effects.table.loc[config] if config in selection.effects.table.index else None
    return {
        "id": config,
        "values": {name: plain(row[name]) for name in tables.parameters},
        "folds": len(scores),
        "mean": plain(scores.mean()) if len(scores) else None,
        "expected": None if effect is None else plain(effect["score"]),
        "interval": None if effect is None else [plain(effect["low"]), plain(effect["high"])],
        "chance_best": None if effect is None else plain(effect["best"]),
    }


def _corrected_document(corrected: CorrectedScore | None) -> dict[str, Any] | None:
    if corrected is None:
        return None
    keys = ("naive", "estimate", "low", "high", "optimism")
    return {key: plain(getattr(corrected, key)) for key in keys}
