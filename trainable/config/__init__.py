"""Hyperparameters of training a fold: their types, ranges, defaults and conditions, and configs made of them."""

from trainable.config.conditions import conditions_of
from trainable.config.hyperparameters import ALONE, SCRIBBLED, UNSCORED, Config
from trainable.config.making import allowed, describe, make_config, parse_assignments
from trainable.config.network_fields import WEIGHTS, Network, network_name
from trainable.config.recipe_fields import SUPERVISED
from trainable.config.stages import made_of
from trainable.config.values import IMAGENET, STRIDE, as_written

__all__ = [
    "ALONE",
    "IMAGENET",
    "SCRIBBLED",
    "STRIDE",
    "SUPERVISED",
    "UNSCORED",
    "WEIGHTS",
    "Config",
    "Network",
    "allowed",
    "as_written",
    "conditions_of",
    "describe",
    "made_of",
    "make_config",
    "network_name",
    "parse_assignments",
]
