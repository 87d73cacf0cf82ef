"""Every key of a space file, generated from the declarations that check it."""

from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from spaces.schema.settings import Settings
from spaces.schema.settings_reader import LISTED, VARIANTS
from trainable.config import allowed

Row = dict[str, str]
KEYS = ("key", "default", "allowed", "meaning")
# The trainable's rules check parameters, so these rows are the only ones that are not generated.
PARAMETERS: tuple[Row, ...] = tuple(
    dict(zip(KEYS, row, strict=True))
    for row in (
        ("parameters.NAME", "its default", "a value", "a fixed value"),
        ("parameters.NAME.values", "", "a list", "the values to search"),
        ("parameters.NAME.min, .max", "", "numbers", "a range, both ends included"),
        (
            "parameters.NAME.distribution",
            "int for whole numbers, else uniform",
            "uniform, log_uniform, int",
            "distribution of samples from the range; hyperparameters that are whole numbers allow int only",
        ),
        ("parameters.NAME.log", "false", "true, false", "draw whole numbers uniformly on a log scale"),
        (
            "parameters.NAME.when",
            "",
            "{OTHER: value or list}",
            "search it only when other parameters have these values; otherwise it keeps its default",
        ),
        ("forbid", "", "a list of {NAME: value or list, ...}", "exclude configs that have all of these values"),
    )
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
            rows += _fields(f"{name}.", LISTED[name]) if name in LISTED else []
        if name == "metric":
            rows += PARAMETERS
    return rows


def markdown() -> str:
    """The reference as a Markdown table, for docs/space_files.md."""
    rows = [["key", "default", "allowed", "meaning"], ["---"] * 4]
    rows += [[f"`{row['key']}`", row["default"], row["allowed"], row["meaning"]] for row in reference()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _variants(section: str, default: str, meaning: str) -> list[Row]:
    """The row of the name, then a row for each key, which lists the names that have it."""
    kinds = VARIANTS[section]
    rows = [{"key": f"{section}.name", "default": default, "allowed": ", ".join(kinds), "meaning": meaning}]
    keys = dict.fromkeys(key for model in kinds.values() for key in model.model_fields if key != "name")
    for key in keys:
        models = {name: model for name, model in kinds.items() if key in model.model_fields}
        fields = {name: _fields(f"{section}.", model, key)[0] for name, model in models.items()}
        names_by_default: dict[str, list[str]] = {}
        for name, field in fields.items():
            names_by_default.setdefault(field["default"], []).append(name)
        row = next(iter(fields.values()))
        if len(names_by_default) > 1:
            defaults = "; ".join(f"{', '.join(names)}: {value}" for value, names in names_by_default.items())
            row = {**row, "default": defaults}
        rows.append({**row, "meaning": f"{', '.join(fields)}: {row['meaning']}"})
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
    if value in (None, (), "", {}):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)
