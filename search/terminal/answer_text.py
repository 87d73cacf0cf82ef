"""The winner, its set and the chances of configs in words and rows, the same in all commands."""

import math
from collections.abc import Iterator
from typing import Any

from search.race.answer import FORECAST_CHANCE, PEER_CHANCE, Assessment, Standing
from trainable.printing import digits, plural

COLUMNS = ("expected", "95 % interval", "wins these folds", "better on any folds")
ANY_FOLDS = "on any folds of the same data"


def set_sentences(assessment: Assessment) -> Iterator[str]:
    """How many configs cannot be distinguished from the winner, and what that means; each fits a terminal."""
    if assessment.why_not:
        yield f"There is too little to compare it with: {assessment.why_not}."
        return
    others, least = len(assessment.peers) - 1, f"{100 * PEER_CHANCE:.0f} %"
    forecasts = sum(assessment.standings[config].forecast for config in assessment.peers)
    if others:
        yield f"{plural(others, 'other config')} cannot be distinguished from it."
        yield f"{'Each' if others > 1 else 'It'} is better {ANY_FOLDS} with a chance of {least} or more."
        if forecasts:
            subject = "It was" if others == 1 else f"{forecasts} of them {'was' if forecasts == 1 else 'were'}"
            chance = f"a chance of {100 * FORECAST_CHANCE:.0f} % or more by forecast"
            yield f"{subject} paused in the first fold, with {chance}."
    else:
        yield "All other configs with a full-length score can be distinguished from it."
        yield f"No other one is better {ANY_FOLDS} with a chance of {least} or more."
    if above := assessment.exceptions:
        more = f" and {len(above) - 1} more are" if len(above) > 1 else " is"
        yield f"{above[0]}{more} ranked above a part of the set, whose scores are less certain."


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
