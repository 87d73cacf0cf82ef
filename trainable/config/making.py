"""Configs from values as a user writes them, and what every hyperparameter allows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from trainable.config.conditions import conditions_of
from trainable.config.hyperparameters import Config
from trainable.config.images.image_config import ImageConfig
from trainable.config.plugins.extended import extended
from trainable.config.plugins.plugin import PLUGINS, Plugin, plugins_of
from trainable.config.trial_config import TrialConfig
from trainable.errors import UserError, did_you_mean

C = TypeVar("C", bound=TrialConfig)


def make_config(values: Mapping[str, Any], plugins: Sequence[str | Path | Plugin] = ()) -> Config:
    """A config of these values and defaults for the rest; all mistakes are listed in one error.

    The words ``none`` and ``null`` stand for None where a hyperparameter may be None. ``plugins`` are Python files,
    which are executed; they replace those of values that a run or a model has recorded.
    """
    own = {name: value for name, value in values.items() if name != PLUGINS}
    named = values.get(PLUGINS, {})
    if not isinstance(named, Mapping):
        raise UserError(f"{PLUGINS} = {named!r}: is no hyperparameter; python -m trainable fit takes --plugin FILE")
    return make_config_of(extended(plugins_of(plugins or named)), own)


def make_image_config(values: Mapping[str, Any]) -> ImageConfig:
    """The same for a method that segments single images."""
    return make_config_of(ImageConfig, values)


def make_config_of(model: type[C], values: Mapping[str, Any]) -> C:
    try:
        return model.model_validate({name: _value(model, name, value) for name, value in values.items()})
    except ValidationError as error:
        unknown = [problem["loc"][0] for problem in error.errors() if problem["type"] == "extra_forbidden"]
        strange = not all(did_you_mean(str(name), model.model_fields) for name in unknown)
        known = f" Known: {', '.join(model.model_fields)}." if strange else ""
        raise UserError("; ".join(_explain(model, problem) for problem in error.errors()) + known) from None


def _value(model: type[BaseModel], name: str, value: Any) -> Any:
    field = model.model_fields.get(name)
    optional = field is not None and type(None) in get_args(field.annotation)
    return None if optional and isinstance(value, str) and value.lower() in ("none", "null") else value


def describe(model: type[BaseModel] = Config) -> list[dict[str, Any]]:
    """Every hyperparameter with its default, what is allowed and what it does."""
    schema = model.model_json_schema()["properties"]
    return [
        {
            "name": name,
            "default": field.get_default(),
            "allowed": allowed(schema[name]),
            "meaning": field.description,
            "only_with": "; ".join(
                f"{key} = {' or '.join(values)}" for key, values in conditions_of(model, name).items()
            ),
        }
        for name, field in model.model_fields.items()
    ]


def allowed(schema: Mapping[str, Any]) -> str:
    """What a field's JSON schema allows, as text."""
    if "allowed" in schema:
        return str(schema["allowed"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(allowed(part) for part in schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        return ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    words = {
        "array": "WIDTHxHEIGHT",
        "boolean": "true or false",
        "null": "none",
        "number": "number",
        "integer": "integer",
        "string": "name",
    }
    limits = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]}" for key, sign in limits.items() if key in schema]
    return " ".join([words.get(schema.get("type", ""), "value"), ", ".join(bounds)]).strip()


def parse_assignments(assignments: list[str]) -> dict[str, str]:
    """Read ``key=value`` words as a command line gives them."""
    values: dict[str, str] = {}
    for word in assignments:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {word!r}: write key=value, as in --set batch_size=8")
        values[key.strip()] = value.strip()
    return values


def _explain(model: type[BaseModel], problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"][:1])
    if problem["type"] == "extra_forbidden":
        return f"unknown hyperparameter {key!r}.{did_you_mean(key, model.model_fields)}"
    message = problem["msg"].removeprefix("Value error, ")
    if not key:
        return str(message)
    hint = ""
    if problem["type"] == "literal_error" and isinstance(problem["input"], str):
        hint = did_you_mean(
            problem["input"], problem["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        )
    return f"{key} = {problem['input']!r}: {message[:1].lower()}{message[1:]}.{hint}"
