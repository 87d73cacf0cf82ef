"""The answer in sentences: first the winner, then how certain it is."""

import math
from collections.abc import Iterator
from typing import Any

from analysis.answer.document import summary_rows
from analysis.answer.score_basis import scored_on_scribbles, validated
from analysis.answer.selection import Selection, how_to_complete, units_of
from search.runs.run_tables import RunTables
from search.terminal.answer_text import COLUMNS, certainty, set_sentences
from trainable.printing import ABSENT, deviation, digits, plural

SHOWN = 12  # configs in a table for people; JSON and CSV hold all


def lines(tables: RunTables, selection: Selection) -> Iterator[str]:
    """The answer, one sentence per line."""
    winner, metric = selection.winner, tables.metric
    if winner is None:
        none = f"No config has all {tables.folds} folds at full length yet, so there is no winner"
        yield f"{none}; {how_to_complete(tables)}."
        return
    active = {name: text for name, text in tables.texts(winner.config).items() if text != ABSENT}
    named = ", ".join(f"{name} {text}" for name, text in active.items()) or "the only one"
    yield f"The winner is {winner.config} ({named})."
    sd = "" if math.isnan(winner.sd) else f" ± {deviation(winner.sd, winner.mean)}"
    yield (
        f"Its mean {metric} over {len(winner.folds)} folds is {digits(winner.mean)}{sd} (sd between folds); a fold "
        f"is scored {tables.space.trainable.scored}."
    )
    yield from filter(None, (scored_on_scribbles(tables), validated(tables, winner.config)))
    if winner.tied:
        yield f"{', '.join(winner.tied)} scored the same; it was preferred because it is cheaper, simpler or earlier."
    corrected = selection.corrected
    if corrected is not None:
        yield (
            f"Corrected for being selected as the best, its score is {digits(corrected.estimate)} "
            f"(95 % interval {digits(corrected.low)} to {digits(corrected.high)}, over {units_of(corrected, metric)})."
        )
    yield from set_sentences(selection.assessment)
    guessed = sum(each.forecast for each in selection.assessment.standings.values())
    if guessed:
        yield _without_score(guessed, "config", "compared by a forecast")
    if left := unknown(tables, selection):
        yield _without_score(left, "more config" if guessed else "config", "not part of this comparison")
    tested = [each for each in selection.comparisons if each.folds > 1]
    yield from (f"Against {_role(selection, each.other)}: {each.summary}." for each in tested[:SHOWN])
    if untested := sum(each.folds < 2 and each.other in selection.peers for each in selection.comparisons):
        share = "shares" if untested == 1 else "share"
        yield f"{untested} of the set {share} fewer than two folds with the winner, too few to test."


def table(tables: RunTables, selection: Selection) -> list[dict[str, Any]]:
    """The best configs, the winner first; ``expected`` is the shrunk mean on any folds with its interval."""
    found = selection.assessment
    rows, incomplete = [], {each.config for each in selection.incomplete}
    for row in summary_rows(tables, selection)[:SHOWN]:
        standing = found.standings.get(row["config"])
        rows.append(
            {
                "config": row["config"],
                "": row["place"],
                "folds": row["folds"],
                "mean": row["mean"],
                "sd": row["sd"],
                **(dict.fromkeys(COLUMNS, "") if standing is None else certainty(standing)),
                "missing": _missing(tables, row["config"]) if row["config"] in incomplete else "",
                **tables.texts(row["config"]),
            }
        )
    return rows


def details(tables: RunTables, selection: Selection) -> Iterator[str]:
    """What each incomplete config of the table lacks, and why."""
    shown = {row["config"] for row in summary_rows(tables, selection)[:SHOWN]}
    yield from (f"{each.config}: {each.missing}" for each in selection.incomplete if each.config in shown)


def unknown(tables: RunTables, selection: Selection) -> int:
    """How many configs have neither a full-length score nor a forecast, without failed ones."""
    return len(set(tables.configs["config"]) - set(selection.assessment.standings) - tables.failed())


def _without_score(count: int, configs: str, fate: str) -> str:
    has, are = ("has", "is") if count == 1 else ("have", "are")
    return f"{plural(count, configs)} {has} no full-length score, and {are} {fate}."


def _missing(tables: RunTables, config: str) -> str:
    """The folds without a score at full length, as short as a table needs it."""
    if config in tables.failed():
        return "failed"
    left = [str(fold) for fold, score in tables.full().loc[config].to_dict().items() if math.isnan(score)]
    return f"fold{'s' if len(left) > 1 else ''} {', '.join(left)}"


def _role(selection: Selection, config: str) -> str:
    return "the default config" if config == selection.default else f"{config}"
