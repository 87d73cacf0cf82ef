"""What plugins add, as rows of a table."""

from collections.abc import Iterable
from typing import Any

from trainable.config.conditions import KEY
from trainable.config.plugins.parts import parts_of
from trainable.config.plugins.plugin import Plugin


def plugin_rows(plugins: Iterable[Plugin]) -> list[dict[str, Any]]:
    """A row for each network, loss and recipe, with the hyperparameters that exist only with it."""
    rows = []
    for plugin in plugins:
        parts = parts_of(plugin)
        fields = {} if parts.hyperparameters is None else parts.hyperparameters.model_fields
        for choice, table in parts.by_choice.items():
            for name in table:
                extras: dict[str, Any] = {field: info.json_schema_extra for field, info in fields.items()}
                own = [field for field, extra in extras.items() if name in extra[KEY].get(choice, ())]
                rows.append({"plugin": plugin.name, "adds": choice, "name": name, "hyperparameters": ", ".join(own)})
    return rows
