"""The answer: the winner, the set it cannot be distinguished from, the evidence, and what the others lack."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics.bootstrap import CorrectedScore, bias_corrected
from analysis.statistics.expected_scores import ExpectedScores, expected_scores
from analysis.statistics.fold_scores import members_of
from analysis.statistics.paired import PairedTest, paired_test
from search.race.answer import Assessment, Standing, best_first
from search.runs.run_tables import RunTables
from trainable.errors import UserError, did_you_mean
from trainable.objectives.metrics import is_of_volumes, volume_counts


@dataclass(frozen=True)
class Incomplete:
    """A config that cannot win, and why not."""

    config: str
    folds: int
    mean: float
    missing: str


@dataclass(frozen=True)
class Winner:
    """``mean`` and ``sd`` are over the folds; ``tied`` are other configs with the same mean."""

    config: str
    values: Mapping[str, Any]
    folds: tuple[float, ...]
    tied: tuple[str, ...]

    @property
    def mean(self) -> float:
        return math.fsum(self.folds) / len(self.folds)

    @property
    def sd(self) -> float:
        return float(np.std(self.folds, ddof=1)) if len(self.folds) > 1 else math.nan


@dataclass(frozen=True)
class Selection:
    """All statistics of one run; ``corrected`` is None if it cannot be known, which the notes explain.

    ``assessment`` is the posterior that the scheduler, ``status`` and the end of the launch quote as well. ``expected``
    is for effects of parameters, which include fold trials that were paused at a rung.
    """

    winner: Winner | None
    assessment: Assessment
    expected: ExpectedScores
    peers: tuple[str, ...]
    comparisons: tuple[PairedTest, ...]  # the winner with each of its peers, then with the default config
    default: str | None
    corrected: CorrectedScore | None
    incomplete: tuple[Incomplete, ...]
    notes: tuple[str, ...]

    def standings(self, forecasts: bool = True) -> pd.DataFrame:
        """The fields of every standing, a row for each config, the best expected mean first."""
        rows = [asdict(each) for each in self.assessment.standings.values() if forecasts or not each.forecast]
        columns = [field.name for field in fields(Standing)]
        return pd.DataFrame(rows, columns=columns).set_index("config")


def select(tables: RunTables) -> Selection:
    """Select the best complete config and the set it cannot be distinguished from."""
    expected = expected_scores(tables.trials, tables.curves)
    assessment = tables.status.assessment
    winner = winner_of(tables)
    incomplete = tuple(_incomplete(tables))
    notes = list(tables.left_out)
    notes += [note for note in (assessment.why_not, tables.status.policy.earlier_rules) if note]
    default = default_config(tables)
    if winner is None:
        return Selection(None, assessment, expected, (), (), default, None, incomplete, tuple(notes))
    peers = assessment.peers
    full = tables.full()
    others = [config for config in peers if config != winner.config]
    against = [*others, *([default] if default not in (None, winner.config, *others) else [])]
    comparisons = tuple(paired_test(full, winner.config, str(other), minimize=tables.minimize) for other in against)
    corrected, why = None, "only one config is complete, so its score cannot be corrected for being selected"
    if len(complete := tables.complete()) > 1:
        corrected, why = corrected_score(tables, complete, tables.metric)
    return Selection(
        winner,
        assessment,
        expected,
        peers,
        comparisons,
        default,
        corrected,
        incomplete,
        (*notes, *([why] if why else [])),
    )


def default_config(tables: RunTables) -> str | None:
    """The config in which every varying parameter that it has is at its default, if the run has it."""
    usual = {name: tables.space.trainable.default(name) for name in tables.parameters}
    for config, entrant in tables.status.score_table.entrants.items():
        if all(entrant.parameters[name] == usual[name] for name in usual if name in entrant.parameters):
            return config
    return None


def scored_config(tables: RunTables, name: str) -> str:
    """A config by its id or a prefix of it."""
    known = [str(config) for config in tables.configs["config"]]
    found = [config for config in known if config.startswith(name)]
    if len(found) != 1:
        hint = did_you_mean(name, known) if not found else ""
        raise UserError(f"config {name!r}: {len(found) or 'no'} configs of {tables.run.folder} start with it.{hint}")
    return found[0]


def needs_a_winner(tables: RunTables, winner: Winner | None) -> Winner:
    """The winner; without one, an error that says what is missing."""
    if winner is None:
        raise UserError(
            f"{tables.run.folder}: no config has all {tables.folds} folds at full length, so there is no winner yet; "
            f"{how_to_complete(tables)}"
        )
    return winner


def how_to_complete(tables: RunTables) -> str:
    if tables.status.driven and not tables.status.ended:
        return "the search is running"
    return f"{tables.run.resume_command} resumes the run"


def winner_of(tables: RunTables, among: Sequence[str] | None = None) -> Winner | None:
    """The complete config with the best mean, of all or of those given."""
    first, *tied = best_first(tables.status.score_table, among) or ("",)
    if not first:
        return None
    row = tables.configs.set_index("config").loc[first]
    values = {name: plain(row[name]) for name in tables.parameters}
    folds = tuple(float(score) for score in tables.full().loc[[first]].to_numpy(dtype=float)[0])
    return Winner(first, values, folds, tuple(tied))


def _incomplete(tables: RunTables) -> Sequence[Incomplete]:
    """Every incomplete config, those with the most folds first."""
    full, failed = tables.full(), tables.failed()
    trials = dict(iter(tables.trials.groupby("config")))
    complete = set(tables.complete())
    found = []
    for config in tables.configs["config"]:
        if config in complete:
            continue
        rows = trials.get(config, tables.trials.iloc[:0])
        scores = full.loc[config].dropna()
        mean = float(scores.mean()) if len(scores) else math.nan
        found.append(Incomplete(str(config), len(scores), mean, _missing(tables, config, rows, config in failed)))
    inside = tables.status.score_table.shown  # so that higher is better
    return sorted(found, key=lambda each: (-each.folds, -inside(each.mean) if each.folds else 0.0, each.config))


def _missing(tables: RunTables, config: str, rows: pd.DataFrame, failed: bool) -> str:
    if failed:
        row = rows[rows["state"] == "failed"].to_dict("records")[0]
        return f"failed in fold {row['fold']}: {row['reason'].removeprefix('failed: ')}"
    begun = set(rows["fold"])
    words = [
        f"fold {row['fold']} {row['state']} at step {row['step']} of {row['of']}"
        + (f" ({row['reason']})" if row["reason"] else "")
        for row in rows.to_dict("records")
        if math.isnan(row["full"])
    ]
    never = [str(fold) for fold in range(tables.folds) if fold not in begun]
    if never:
        words.append(f"fold{'s' if len(never) > 1 else ''} {', '.join(never)} not started")
    return "; ".join(words)


def corrected_score(tables: RunTables, complete: Sequence[str], metric: str) -> tuple[CorrectedScore | None, str]:
    """Corrected with the per-image counts of these complete configs, which must be of the same images.

    Images of a group are sampled together, if the run has recorded groups.
    """
    images = tables.images(complete)
    if images.empty:
        return None, "no per-image counts are left in the fold folders, so the winner's score is not bias-corrected"
    images = images.sort_values(["fold", "stem"])
    grouped = dict(iter(images.groupby("config")))
    reference = next(iter(grouped.values()))
    cells = reference[["fold", "stem"]].to_numpy().tolist()
    comparable = [c for c in complete if c in grouped and grouped[c][["fold", "stem"]].to_numpy().tolist() == cells]
    if len(comparable) < len(complete):
        return (
            None,
            "some per-image counts of complete configs are missing, so the winner's score is not bias-corrected",
        )
    counts = np.stack([tables.counts(grouped[config]) for config in comparable])
    folds = reference["fold"].to_numpy(np.int64)
    try:
        known = tables.groups
    except UserError as error:
        return None, f"{error}, so the winner's score is not bias-corrected"
    groups = np.array([f"group {known[stem]}" if stem in known else f"image {stem}" for stem in reference["stem"]])
    if is_of_volumes(metric):
        volumes = reference["volume"].tolist()
        first = np.unique(volumes, return_index=True)[1]  # neither a fold nor a group splits a volume
        counts = np.stack([volume_counts(each, volumes) for each in counts])
        folds, groups = folds[first], groups[first]
    drawn = groups.tolist() if known else None
    if not any(each.any() for each in members_of(folds, drawn)):
        return None, "every fold holds out a single unit, so the winner's score is not bias-corrected"
    return bias_corrected(counts, folds, metric, task=tables.task, groups=drawn), ""


def units_of(corrected: CorrectedScore, metric: str) -> str:
    """What the interval of a corrected score is over."""
    return "groups" if corrected.grouped else "volumes" if is_of_volumes(metric) else "images"


def plain(value: Any) -> Any:
    """The cell of a table as a Python value; NaN becomes None."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def plain_row(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): plain(value) for name, value in row.items()}
