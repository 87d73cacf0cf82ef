"""Configs of every network so small that a step takes milliseconds."""

from typing import Any

from trainable.config import Config, conditions_of, make_config

TINY = {
    "encoder": "test_resnet",
    "attention": None,
    "width": 4,
    "depth": 2,
    "pyramid_width": 8,
    "sam_size": "tiny",
    "sam_trains": "all",
}


def tiny_network(architecture: str, **values: Any) -> Config:
    """A config of this network; of the tiny values, it gets those that exist with it."""
    own = {name: value for name, value in TINY.items() if architecture in conditions_of(Config, name)["architecture"]}
    steps = {"batch_size": 4, "steps": 4, "evaluations": 2, "precision": "float32"}
    return make_config({"architecture": architecture, **own, **steps, **values})
