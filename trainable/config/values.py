"""Types of hyperparameters that have a form of their own, such as a size or a weight per class."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

STRIDE = 32


def parse_size(value: Any) -> Any:
    """Read "480x352" or [480, 352] as a width and a height; "auto" stays."""
    if value == "auto":
        return value
    parts = value.lower().split("x") if isinstance(value, str) else value
    try:
        width, height = (int(part) for part in parts)
    except (TypeError, ValueError):
        raise ValueError("must be 'auto' or WIDTHxHEIGHT, as in 480x352") from None
    if width < STRIDE or height < STRIDE or width % STRIDE or height % STRIDE:
        raise ValueError(f"width and height must be multiples of {STRIDE} (the encoder halves them five times)")
    return (width, height)


def parse_weights(value: Any) -> Any:
    """Read "1,3,3" or [1, 3, 3] as a weight per class."""
    parts = value.split(",") if isinstance(value, str) else value
    try:
        weights = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        raise ValueError("must be none or a weight per class, as in 1,3,3,3") from None
    if len(weights) < 2 or min(weights) < 0 or max(weights) == 0:
        raise ValueError("needs a weight of 0 or more per class, and one above 0")
    return weights


def as_text(value: Sequence[float]) -> str:
    """The form in which a size or weights are written in a space, as in 480x352 or 1,3,3."""
    whole = all(isinstance(each, int) for each in value)
    return ("x" if whole else ",").join(repr(each).removesuffix(".0") for each in value)


Weights = Annotated[
    tuple[float, ...],
    BeforeValidator(parse_weights),
    Field(json_schema_extra={"allowed": "a weight per class, as in 1,3,3"}),
]
Size = Annotated[Literal["auto"] | tuple[int, int], BeforeValidator(parse_size)]
