"""Every key that a space file may have, from the very declarations that check it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from spaces.schema.settings import VARIANTS, Settings
from trainable.config import allowed

Row = dict[str, str]
# Parameters are read with the trainable's own rules, so these rows are the only ones that no declaration gives.
PARAMETERS: tuple[Row, ...] = (
    {"key": "parameters.NAME", "default": "its default", "allowed": "a value", "meaning": "fixed for all configs"},
    {"key": "parameters.NAME.values", "default": "", "allowed": "a list", "meaning": "one of these"},
    {"key": "parameters.NAME.min, .max", "default": "", "allowed": "numbers", "meaning": "a range, both ends included"},
    {
        "key": "parameters.NAME.distribution",
        "default": "uniform",
        "allowed": "uniform, log_uniform, int",
        "meaning": "how a range is drawn from; int gives whole numbers",
    },
    {
        "key": "parameters.NAME.log",
        "default": "false",
        "allowed": "true, false",
        "meaning": "whole numbers, even on a log scale",
    },
    {
        "key": "parameters.NAME.when",
        "default": "",
        "allowed": "{OTHER: value or list}",
        "meaning": "searched only where others have these values; elsewhere it keeps its default",
    },
    {
        "key": "forbid",
        "default": "",
        "allowed": "a list of {NAME: value or list, ...}",
        "meaning": "configs that have all of these values are left out",
    },
)


def reference() -> list[Row]:
    rows: list[Row] = []
    for name, field in Settings.model_fields.items():
        if name in VARIANTS:
            rows += _variants(name, field.get_default().name, str(field.description))
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            rows += _fields(name + ".", field.annotation)
        else:
            rows += _fields("", Settings, name)
        if name == "metric":
            rows += PARAMETERS
    return rows


def markdown() -> str:
    """The reference as a table of the README."""
    rows = [["key", "default", "may be", "meaning"], ["---"] * 4]
    rows += [[f"`{row['key']}`", row["default"], row["allowed"], row["meaning"]] for row in reference()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _variants(section: str, default: str, meaning: str) -> list[Row]:
    """The name first, then each key with the names that know it."""
    kinds = VARIANTS[section]
    rows = [{"key": f"{section}.name", "default": default, "allowed": ", ".join(kinds), "meaning": meaning}]
    keys = dict.fromkeys(key for model in kinds.values() for key in model.model_fields if key != "name")
    for key in keys:
        knowing = {name: model for name, model in kinds.items() if key in model.model_fields}
        told: dict[str, list[str]] = {}
        for name, model in knowing.items():
            told.setdefault(_fields(f"{section}.", model, key)[0]["default"], []).append(name)
        row = _fields(f"{section}.", next(iter(knowing.values())), key)[0]
        defaults = row["default"] if len(told) == 1 else "; ".join(f"{', '.join(n)}: {d}" for d, n in told.items())
        rows.append({**row, "default": defaults, "meaning": f"{', '.join(knowing)}: {row['meaning']}"})
    return rows


def _fields(prefix: str, model: type[BaseModel], only: str | None = None) -> list[Row]:
    schema = model.model_json_schema()["properties"]
    return [
        {
            "key": prefix + name,
            "default": _default(field.get_default()),
            "allowed": allowed(schema[name]),
            "meaning": str(field.description),
        }
        for name, field in model.model_fields.items()
        if only is None or name == only
    ]


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)
