"""Hyperparameters of training a fold: their types, ranges, defaults and conditions, and configs made of them."""

from trainable.config.conditions import conditions_of, only_with
from trainable.config.hyperparameters import SCRIBBLED, Config
from trainable.config.images.image_config import METHOD, ImageConfig
from trainable.config.making import allowed, describe, make_config, make_image_config, parse_assignments
from trainable.config.network_fields import WEIGHTS, Network, network_name
from trainable.config.plugins.extended import extended, own_hyperparameters
from trainable.config.plugins.parts import explained, is_in
from trainable.config.plugins.plugin import PLUGINS, Plugin, copy_plugins, keep, plugins_of, recorded
from trainable.config.recipe_fields import SUPERVISED
from trainable.config.stages import made_of
from trainable.config.trial_config import ALONE, UNSCORED, TrialConfig
from trainable.config.values import IMAGENET, STRIDE, as_written

__all__ = [
    "ALONE",
    "IMAGENET",
    "METHOD",
    "PLUGINS",
    "SCRIBBLED",
    "STRIDE",
    "SUPERVISED",
    "UNSCORED",
    "WEIGHTS",
    "Config",
    "ImageConfig",
    "Network",
    "Plugin",
    "TrialConfig",
    "allowed",
    "as_written",
    "conditions_of",
    "copy_plugins",
    "describe",
    "explained",
    "extended",
    "is_in",
    "keep",
    "made_of",
    "make_config",
    "make_image_config",
    "network_name",
    "only_with",
    "own_hyperparameters",
    "parse_assignments",
    "plugins_of",
    "recorded",
]
