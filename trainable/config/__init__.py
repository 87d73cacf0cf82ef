"""Hyperparameters of training a fold: their types, ranges, defaults and conditions, and configs made of them."""

from trainable.config.conditions import conditions_of
from trainable.config.hyperparameters import ALONE, SCRIBBLED, UNSCORED, Config
from trainable.config.making import allowed, describe, make_config, parse_assignments
from trainable.config.values import STRIDE, as_text

__all__ = [
    "ALONE",
    "SCRIBBLED",
    "STRIDE",
    "UNSCORED",
    "Config",
    "allowed",
    "as_text",
    "conditions_of",
    "describe",
    "make_config",
    "parse_assignments",
]
