"""Published figures beside those of this run: for each, the best complete config that it is to be compared with."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from analysis.answer.selection import corrected_score, units_of, winner_of
from search.runs.run_tables import RunTables
from spaces.schema.parameters import holds
from spaces.schema.settings import Reference
from spaces.summary import condition_text
from trainable.objectives.metrics import metrics_of
from trainable.printing import digits

NOT_RUN = "not run"


@dataclass(frozen=True)
class PublishedFigure:
    """``ours`` is the mean over the folds of ``config``, None as long as ``state`` says what is missing.

    Of several configs that match, ``config`` is the best by the run's metric; the interval of that metric is corrected
    for this choice. ``units`` is what the interval is over: images, volumes or groups.
    """

    source: str
    where: str
    metric: str
    published: float
    ours: float | None
    low: float | None
    high: float | None
    config: str | None
    matching: int  # complete configs
    folds: int
    of: int
    size: str | None
    images: int | None
    state: str
    note: str
    units: str | None = None

    @property
    def difference(self) -> float | None:
        return None if self.ours is None else self.ours - self.published


def published_figures(tables: RunTables) -> list[PublishedFigure]:
    """A row per figure, in the order of the space."""
    return [row for reference in tables.space.settings.references for row in _rows(tables, reference)]


def documents(figures: Sequence[PublishedFigure]) -> list[dict[str, Any]]:
    """The rows for JSON."""
    return [asdict(each) | {"difference": each.difference} for each in figures]


def rows(figures: Sequence[PublishedFigure]) -> list[dict[str, str]]:
    """The rows for people, with the figures as they were published; those of this run have four digits."""
    return [
        {
            "configs": each.where,
            "metric": each.metric,
            "published": f"{each.published:g}",
            "ours": each.state if each.ours is None else digits(each.ours),
            "95 % interval": "" if each.low is None else f"{digits(each.low)} to {digits(each.high)}",
            "difference": "" if each.difference is None else digits(each.difference, sign=True),
            "folds": "" if each.config is None else f"{each.folds} of {each.of}",
            "size": each.size or "",
            "images": "" if each.images is None else str(each.images),
            "config": _chosen(each),
        }
        for each in figures
    ]


def _chosen(figure: PublishedFigure) -> str:
    if figure.config is None:
        return ""
    return figure.config if figure.matching < 2 else f"{figure.config}, best of {figure.matching}"


def _rows(tables: RunTables, reference: Reference) -> Iterator[PublishedFigure]:
    entrants = tables.status.score_table.entrants
    configs = {name: tables.space.complete(entrant.parameters) for name, entrant in entrants.items()}
    matching = [name for name, config in configs.items() if holds(reference.where, config)]
    complete = [name for name in tables.complete() if name in matching]
    where = condition_text(reference.where) or "all"
    row = PublishedFigure(
        reference.source, where, "", 0.0, None, None, None, None, 0, 0, tables.folds, None, None, "", reference.note
    )
    winner = winner_of(tables, complete)
    if winner is None:
        row = replace(row, state=_unfinished(tables, matching))
    else:
        size = configs[winner.config].get("size", tables.space.trainable.default("size"))
        row = replace(row, config=winner.config, matching=len(complete), folds=len(winner.folds), size=_size_text(size))
    for metric, published in reference.scores.items():
        each = replace(row, metric=metric, published=published)
        yield each if winner is None else _scored(tables, each, complete, winner.mean)


def _unfinished(tables: RunTables, matching: list[str]) -> str:
    """The most folds that a matching config has at full length."""
    if not set(matching) & set(tables.trials["config"]):
        return NOT_RUN
    most = int(tables.full().loc[matching].notna().sum(axis=1).max())
    failed = ", failed" if set(matching) <= tables.failed() else ""
    return f"{most} of {tables.folds} folds{failed}"


def _scored(tables: RunTables, row: PublishedFigure, complete: list[str], mean: float) -> PublishedFigure:
    """The figure of this run, from per-image counts; without counts only the run's own metric is known."""
    own = row.metric == tables.metric
    if not own and row.metric not in metrics_of(tables.task, bool(tables.facts.get("volumes"))):
        return replace(row, state="not a metric of these data")
    configs = complete if own else [str(row.config)]
    score, _ = corrected_score(tables, configs, row.metric)
    images = tables.images([str(row.config)])
    row = replace(row, images=len(images) or None)
    if score is None:
        return replace(row, ours=mean) if own else replace(row, state="no counts per image")
    units = units_of(score, row.metric)
    return replace(row, ours=mean if own else score.naive, low=score.low, high=score.high, units=units)


def _size_text(size: Any) -> str:
    return "x".join(map(str, size)) if isinstance(size, tuple | list) else str(size)
