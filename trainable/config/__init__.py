"""Hyperparameters of training a fold: their types, ranges, defaults and conditions, and configs made of them."""

from trainable.config.conditions import conditions_of
from trainable.config.hyperparameters import SCRIBBLED, Config
from trainable.config.images.image_config import METHOD, ImageConfig
from trainable.config.making import allowed, describe, make_config, make_image_config, parse_assignments
from trainable.config.network_fields import WEIGHTS, Network, network_name
from trainable.config.recipe_fields import SUPERVISED
from trainable.config.stages import made_of
from trainable.config.trial_config import ALONE, UNSCORED, TrialConfig
from trainable.config.values import IMAGENET, STRIDE, as_written

__all__ = [
    "ALONE",
    "IMAGENET",
    "METHOD",
    "SCRIBBLED",
    "STRIDE",
    "SUPERVISED",
    "UNSCORED",
    "WEIGHTS",
    "Config",
    "ImageConfig",
    "Network",
    "TrialConfig",
    "allowed",
    "as_written",
    "conditions_of",
    "describe",
    "made_of",
    "make_config",
    "make_image_config",
    "network_name",
    "parse_assignments",
]
