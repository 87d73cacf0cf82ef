"""Two configs side by side: what differs between them, in parameters, on each fold and on each image."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from analysis.answer.document import full_config
from analysis.answer.score_basis import basis, scored_on_scribbles
from analysis.answer.selection import default_config, needs_a_winner, plain_row, scored_config, winner_of
from analysis.statistics.paired import PairedTest, paired_test
from search.race.answer import Difference
from search.runs.run_tables import RunTables
from search.terminal.answer_text import ANY_FOLDS, percent
from trainable.errors import UserError
from trainable.objectives.metrics import is_of_volumes, table_columns, unit_scores, without_volumes
from trainable.printing import ABSENT, digits, plural, value_text

WINNER, DEFAULT = "winner", "default"
INACTIVE = object()  # the value of a conditional parameter in a config that does not have it


@dataclass(frozen=True)
class Compared:
    """``parameters`` are those that differ. ``folds`` has a row per fold of the run, NaN without a full-length score;
    ``images`` has a row per image that both held out, sorted by difference, and ``volumes`` one per volume if
    the metric is of volumes. Differences are the first config minus the second; ``expected`` is the expected difference
    on any folds of the same data.
    """

    config: str
    other: str
    parameters: Mapping[str, tuple[Any, Any]]
    folds: pd.DataFrame
    tested: PairedTest
    expected: Difference | None
    images: pd.DataFrame
    volumes: pd.DataFrame
    notes: tuple[str, ...]


def compare_configs(tables: RunTables, first: str, second: str) -> Compared:
    config, other = named(tables, first), named(tables, second)
    if config == other:
        raise UserError(f"{first} and {second} are the same config, {config}: there is nothing to compare")
    full = tables.full()
    folds = pd.DataFrame({"fold": range(tables.folds), "a": full.loc[config].array, "b": full.loc[other].array})
    folds["difference"] = folds["a"] - folds["b"]
    counts = tables.images([config, other], weights="best", size="original")  # as ensembles and pictures use them
    images, unscored = _pairs(tables, counts, "stem", (config, other))
    return Compared(
        config,
        other,
        _differing(tables, config, other),
        folds,
        paired_test(full, config, other, minimize=tables.minimize),
        _expected(tables, config, other),
        images,
        _pairs(tables, _volumes(tables, counts), "volume", (config, other))[0],
        tuple(_notes(tables, config, other, folds, images, unscored)),
    )


def named(tables: RunTables, name: str) -> str:
    """A config by the start of its id, or by its role in the run."""
    if name == WINNER:
        return needs_a_winner(tables, winner_of(tables)).config
    if name != DEFAULT:
        return scored_config(tables, name)
    default = default_config(tables)
    if default is None:
        raise UserError(
            f"{tables.run.folder}: none of its configs has the default of every parameter that varies "
            f"({', '.join(tables.parameters)}); give the start of an id"
        )
    return default


def document(tables: RunTables, compared: Compared) -> dict[str, Any]:
    """Convert for JSON; unknown values are null."""
    return {
        "run": tables.run.name,
        "metric": tables.metric,
        **basis(tables),
        "a": compared.config,
        "b": compared.other,
        "parameters": {name: {"a": _active(a), "b": _active(b)} for name, (a, b) in compared.parameters.items()},
        "folds": _plain_rows(compared.folds),
        "test": plain_row(asdict(compared.tested)),
        "expected": None if compared.expected is None else plain_row(asdict(compared.expected)),
        "image_metric": image_metric(tables),
        "images": _plain_rows(compared.images),
        "volumes": _plain_rows(compared.volumes),
        "notes": list(compared.notes),
    }


def lines(tables: RunTables, compared: Compared) -> Iterator[str]:
    """The comparison in sentences."""
    yield f"A is {compared.config}, B is {compared.other}; differences are A's {tables.metric} minus B's."
    yield from filter(None, [scored_on_scribbles(tables)])
    if compared.parameters:
        named = ", ".join(f"{name} {_word(a)} against {_word(b)}" for name, (a, b) in compared.parameters.items())
        yield f"They differ in {named}."
    tested = compared.tested
    if not math.isnan(tested.difference):
        folds = plural(tested.folds, "fold")
        yield f"On {folds} that both have, the mean difference is {digits(tested.difference, sign=True)}."
    if tested.folds > 1:
        yield f"Corrected t-test: 95 % interval {_interval(tested.low, tested.high)}, p = {digits(tested.p)}."
    yield f"{tested.summary}."
    expected = compared.expected
    if expected is not None and not math.isnan(expected.mean):
        yield (
            f"{ANY_FOLDS.capitalize()}, the expected difference is {digits(expected.mean, sign=True)} (95 % interval "
            f"{_interval(expected.low, expected.high)}); A is better with a chance of {percent(expected.chance)}."
        )
    for unit, rows in (("image", compared.images), ("volume", compared.volumes)):
        if len(rows):
            better, worse = int((rows["difference"] > 0).sum()), int((rows["difference"] < 0).sum())
            yield (
                f"Of {plural(len(rows), unit)} that both held out, by their best weights and at original size, A is "
                f"better on {better} and B on {worse}."
            )


def fold_rows(compared: Compared) -> list[dict[str, Any]]:
    return _plain_rows(compared.folds)


def image_rows(compared: Compared) -> list[dict[str, Any]]:
    return _plain_rows(compared.images)


def volume_rows(compared: Compared) -> list[dict[str, Any]]:
    return _plain_rows(compared.volumes)


def image_metric(tables: RunTables) -> str:
    """What images are scored by; a slice stands for itself, so a metric of volumes is that of the slice."""
    return without_volumes(tables.metric)


def _differing(tables: RunTables, config: str, other: str) -> dict[str, tuple[Any, Any]]:
    """Hyperparameters that a config does not record have their default, or are inactive if they are searched."""
    entrants = tables.status.score_table.entrants
    ours, theirs = ({**entrants[each].parameters, **full_config(tables, each)} for each in (config, other))
    default = tables.space.trainable.default
    usual = {name: INACTIVE if name in tables.parameters else default(name) for name in [*ours, *theirs]}
    pairs = {name: (ours.get(name, usual[name]), theirs.get(name, usual[name])) for name in usual}
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b}


def _expected(tables: RunTables, config: str, other: str) -> Difference | None:
    """The difference in the model of all configs; None if one of the two is not part of it."""
    return tables.status.assessment.difference(config, other)


def _pairs(tables: RunTables, counts: pd.DataFrame, unit: str, pair: tuple[str, str]) -> tuple[pd.DataFrame, int]:
    """Both scores of each image or volume, and how many have none because a class is not shown."""
    if counts.empty:
        return pd.DataFrame(columns=[unit, "fold", "a", "b", "difference"]), 0
    counts = counts.assign(score=unit_scores(tables.counts(counts), tables.metric, tables.task))
    counts = counts[counts.groupby([unit, "fold"])["config"].transform("size") == len(pair)]
    wide = counts.pivot(index=[unit, "fold"], columns="config", values="score").reindex(columns=list(pair))
    scored = wide.dropna().set_axis(["a", "b"], axis="columns").reset_index()
    scored["difference"] = scored["a"] - scored["b"]
    order = scored["difference"].abs().sort_values(ascending=False, kind="stable").index
    return scored.loc[order].reset_index(drop=True), len(wide) - len(scored)


def _volumes(tables: RunTables, counts: pd.DataFrame) -> pd.DataFrame:
    """Counts of whole volumes, whose slices are never split between folds, if the metric is of volumes."""
    if counts.empty or not is_of_volumes(tables.metric):
        return counts.iloc[:0]
    columns = list(table_columns(len(tables.task.classes)))
    return counts.groupby(["config", "fold", "volume"], as_index=False)[columns].sum()


def _notes(
    tables: RunTables, config: str, other: str, folds: pd.DataFrame, images: pd.DataFrame, unscored: int
) -> Iterator[str]:
    yield from tables.left_out
    for name, column in ((config, "a"), (other, "b")):
        lacking = folds.loc[folds[column].isna(), "fold"].astype(str).tolist()
        if lacking:
            failed = ", it failed" if name in tables.failed() else ""
            noun = "fold" if len(lacking) == 1 else "folds"
            yield f"{name} has no score at full length on {noun} {', '.join(lacking)}{failed}"
    if unscored:
        yield (
            f"not compared: {plural(unscored, 'image')} without {image_metric(tables)} of A or B, where neither truth "
            "nor prediction shows a class that counts"
        )
    elif images.empty:
        yield "no image has counts of both configs in the fold folders, so images are not compared"


def _active(value: Any) -> Any:
    return None if value is INACTIVE else value


def _word(value: Any) -> str:
    return ABSENT if value is INACTIVE else value_text(value)


def _interval(low: float, high: float) -> str:
    return f"{digits(low, sign=True)} to {digits(high, sign=True)}"


def _plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [plain_row(row) for row in table.to_dict("records")]
