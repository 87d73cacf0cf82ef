"""Hyperparameters that exist only with some values of another one: an encoder only in networks that have one."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

KEY = "only_with"
OWN_ENCODER = "its image encoder starts from sam_weights and is trained as sam_trains says"
# Of an architecture: a hyperparameter, values that it does not go with (None: all but the default), and why.
REFUSED: dict[str, tuple[tuple[str, tuple[str, ...] | None, str], ...]] = {
    "mask-rcnn": (
        ("supervision", ("scribbles",), "it learns from the masks of instances, which scribbles do not show"),
        ("acceleration", ("graph",), "its steps wait for the device, which a CUDA graph cannot"),
        ("recipe", ("mixup", "cutmix", "mean_teacher", "dual_branch", "cyclemix"), "it has a loss of its own"),
    ),
    "sam": (
        ("inputs", ("image",), "its prompts are points on the scribbles"),
        ("recipe", ("dual_branch",), "it has no encoder with a decoder behind it"),
        ("encoder_weights", None, OWN_ENCODER),
        ("encoder_learning_rate", None, OWN_ENCODER),
        ("pretraining", None, OWN_ENCODER),
    ),
}


def only_with(**choices: tuple[str, ...]) -> dict[str, Any]:
    """For a field's ``json_schema_extra``: the values of other hyperparameters with which this one exists."""
    return {KEY: {name: list(values) for name, values in choices.items()}}


def conditions_of(model: type[BaseModel], name: str) -> dict[str, list[str]]:
    """The values of other hyperparameters with which this one exists; empty if it always does."""
    field = model.model_fields.get(name)
    extra = None if field is None else field.json_schema_extra
    conditions: Any = extra.get(KEY, {}) if isinstance(extra, dict) else {}
    joined: Mapping[tuple[str, str], tuple[str, ...]] = getattr(model, "joined", {})  # names of plugins
    return {choice: [*values, *joined.get((name, choice), ())] for choice, values in conditions.items()}


def unmet(model: type[BaseModel], name: str, values: Mapping[str, Any]) -> str | None:
    """The rule that a hyperparameter breaks by being set beside these values of the others, or None."""
    for choice, allowed in conditions_of(model, name).items():
        if values[choice] not in allowed:
            return f"belongs to {choice} = {' or '.join(allowed)}; here {choice} is {values[choice]}, so leave it out"
    return None


def refusal(model: type[BaseModel], values: Mapping[str, Any]) -> str | None:
    """Why the architecture cannot have one of these values, or None."""
    for name, refused, reason in REFUSED.get(values["architecture"], ()):
        value, default = values[name], model.model_fields[name].get_default()
        if value != default if refused is None else value in refused:
            return f"{name} = {values[name]}: does not go with architecture = {values['architecture']}: {reason}"
    return None
