"""Pydantic's errors as rules in this project's terms, with suggestions."""

from collections.abc import Iterable
from typing import Any

from trainable.errors import did_you_mean

PLAIN = {
    "missing": "is required",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "model_type": "must be a mapping of keys",
    "dict_type": "must be a mapping of keys",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
}


def rule_of(problem: Any) -> str:
    """The rule that one of pydantic's errors reports, such as "must be greater than 0"."""
    if problem["type"] in PLAIN:
        return PLAIN[problem["type"]]
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    message = message[:1].lower() + message[1:]
    if problem["type"] == "literal_error" and isinstance(problem["input"], str):
        allowed = problem["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{message}.{did_you_mean(problem['input'], allowed)}"
    return str(message)


def one_of(value: Any, known: Iterable[Any], kind: str) -> str:
    """The rule for a name that is not one of the known names."""
    names = [str(name) for name in known]
    hint = did_you_mean(str(value), names) or f" Known: {', '.join(names) or 'none'}."
    return f"unknown {kind}.{hint}"
