"""What scores are of: masks or scribbled pixels, and the split on which nothing was selected."""

from collections.abc import Iterator

from search.runs.run_tables import RETRAIN, RunTables
from trainable.data.labelled import SCRIBBLES
from trainable.objectives.metrics import without_volumes
from trainable.printing import digits
from trainable.storage.checked_json import read_checked

SCORES_FILE = "scores.json"


def scored_on_scribbles(tables: RunTables) -> str:
    """A sentence about scores of data without masks; empty for all other data."""
    if tables.facts.get("scored_on") != SCRIBBLES:
        return ""
    return "The data have no masks: scores are of the scribbled pixels of held-out images only."


def basis(tables: RunTables) -> dict[str, str]:
    """The same for JSON."""
    return {"scored_on": SCRIBBLES} if scored_on_scribbles(tables) else {}


def validation_scores(tables: RunTables, config: str) -> list[dict[str, float]]:
    """The scores of a config's finished fold models on the validation split, if the space names one."""
    return list(_validation(tables, config)) if tables.space.settings.validation is not None else []


def validated(tables: RunTables, config: str) -> str:
    """A sentence about the validation split; empty if there is none."""
    found, split, metric = validation_scores(tables, config), tables.space.settings.validation, tables.metric
    why = ""
    if not all(metric in each for each in found):  # the validation split need not be one of volumes
        metric = without_volumes(metric)
        why = f"; {split} has no volumes, so there is no {tables.metric} of it"
    scores = [each[metric] for each in found if metric in each]
    if not scores:
        return ""
    return (
        f"On {split}, which nothing was trained on or selected by, its {len(scores)} fold models have a mean {metric} "
        f"of {digits(sum(scores) / len(scores))}{why}."
    )


def _validation(tables: RunTables, config: str) -> Iterator[dict[str, float]]:
    tables.run.fetch(f"configs/{config}/*/{SCORES_FILE}")
    for fold in range(tables.folds):
        path = tables.folder(config, fold) / SCORES_FILE
        if path.exists() and (found := read_checked(path, RETRAIN)["best"].get("validation")):
            yield found
