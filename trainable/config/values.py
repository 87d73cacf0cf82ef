"""Types of hyperparameters that have a form of their own, such as a size or a weight per class."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

IMAGENET = "imagenet"  # of encoder_weights
STRIDE = 32  # of most networks: the smallest size, and what "auto" is a multiple of

Region = Literal["dice", "iou", "tversky"]  # losses with a region term that is weighted against cross-entropy


def parse_size(value: Any) -> Any:
    """Read "480x352" or [480, 352] as a width and a height; "auto" stays."""
    if value == "auto":
        return value
    parts = value.lower().split("x") if isinstance(value, str) else value
    try:
        width, height = (int(part) for part in parts)
    except (TypeError, ValueError):
        raise ValueError("must be 'auto' or WIDTHxHEIGHT, as in 480x352") from None
    if width < STRIDE or height < STRIDE:
        raise ValueError(f"width and height must be at least {STRIDE}")
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


def parse_rates(value: Any) -> Any:
    """Read "12,24,36" or [12, 24, 36] as three dilations."""
    parts = value.split(",") if isinstance(value, str) else value
    try:
        first, second, third = (int(part) for part in parts)
    except (TypeError, ValueError):
        raise ValueError("must be three whole numbers, as in 12,24,36") from None
    if min(first, second, third) < 1:
        raise ValueError("must be at least 1")
    return (first, second, third)


def checked_source(value: str) -> str:
    """ "imagenet", a path, or an s3:// URL."""
    if not value.strip() or ("://" in value and not value.startswith("s3://")):
        raise ValueError("must be none, imagenet, a file of weights or s3://BUCKET/NAME")
    return value


def as_written(name: str, value: Any) -> Any:
    """A value as a user writes it: a size as 480x352, any other sequence as 1,3,3."""
    if not isinstance(value, (tuple, list)):
        return value
    return ("x" if name == "size" else ",").join(repr(each).removesuffix(".0") for each in value)


RATES = {"allowed": "three whole numbers, as in 12,24,36"}
Rates = Annotated[tuple[int, int, int], BeforeValidator(parse_rates)]


def parse_names(value: Any) -> Any:
    """Read "test1,test2" or ["test1", "test2"] as names in order, separated by commas."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) and part.strip() for part in parts):
        raise ValueError("must be none or names of splits, as in test1 or test1,test2")
    return ",".join(sorted({part.strip() for part in parts}))


Names = Annotated[
    str, BeforeValidator(parse_names), Field(json_schema_extra={"allowed": "names of splits, as in test1,test2"})
]
Source = Annotated[
    str,
    AfterValidator(checked_source),
    Field(json_schema_extra={"allowed": "imagenet, a file of weights, s3://BUCKET/NAME"}),
]
Weights = Annotated[
    tuple[float, ...],
    BeforeValidator(parse_weights),
    Field(json_schema_extra={"allowed": "a weight per class, as in 1,3,3"}),
]
Size = Annotated[Literal["auto"] | tuple[int, int], BeforeValidator(parse_size)]
