"""The winner, its set and the chances of configs in words and rows, the same in all commands."""

import math
from typing import Any

from search.race.answer import PEER_CHANCE, Assessment, Standing
from trainable.printing import digits, plural

COLUMNS = ("expected", "95 % interval", "wins these folds", "better on any folds")
NAMED = 3  # exceptions that are listed
ANY_FOLDS = "on any folds of the same data"


def set_sentence(assessment: Assessment) -> str:
    """How many configs cannot be distinguished from the winner, and what that means."""
    if assessment.why_not:
        return f"There is too little to compare it with: {assessment.why_not}."
    others, least = len(assessment.peers) - 1, f"{PEER_CHANCE:.0%}".replace("%", " %")
    if others:
        each = "each has" if others > 1 else "it has"
        text = f"{plural(others, 'other config')} cannot be distinguished from it: {each} a chance of {least} or more"
        text += f" to be better {ANY_FOLDS}."
    else:
        text = "All other configs that have a full-length score can be distinguished from it: none has a chance of"
        text += f" {least} or more to be better {ANY_FOLDS}."
    return text + _exceptions(assessment)


def _exceptions(assessment: Assessment) -> str:
    """Why the set is not the first configs of the ranking, if it is not."""
    found = assessment.exceptions
    if not found:
        return ""
    names = ", ".join(found[:NAMED]) + (f" and {len(found) - NAMED} more" if len(found) > NAMED else "")
    verb = "is" if len(found) == 1 else "are"
    return f" {names} {verb} outside the set but ranked above a part of it, whose scores are less certain."


def certainty(standing: Standing) -> dict[str, Any]:
    """The expected mean of a config, its interval and its chances as columns of a table."""
    interval = "" if math.isnan(standing.low) else f"{digits(standing.low)} to {digits(standing.high)}"
    values = (
        digits(standing.expected) + (" (forecast)" if standing.forecast else ""),
        interval,
        percent(standing.chance_these_folds),
        percent(standing.chance_any_folds),
    )
    return dict(zip(COLUMNS, values, strict=True))


def percent(chance: float) -> str:
    """A chance as reasons of the scheduler quote it; the config that others are compared with has none of its own."""
    return "" if math.isnan(chance) else f"{100 * chance:.1f} %"


def document(standing: Standing) -> dict[str, Any]:
    """The same for JSON, unknown numbers as null."""
    numbers = {
        "expected": standing.expected,
        "low": standing.low,
        "high": standing.high,
        "chance_these_folds": standing.chance_these_folds,
        "chance_any_folds": standing.chance_any_folds,
    }
    return {name: None if math.isnan(number) else number for name, number in numbers.items()}
