"""What a plugin adds: its file is executed, and its tables are checked."""

import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from trainable.config.plugins.plugin import Plugin, keep
from trainable.errors import UserError

NAME = re.compile(r"[a-z][a-z0-9_+-]*")
HYPERPARAMETERS = "Hyperparameters"


@dataclass(frozen=True)
class Parts:
    """Networks, region losses and recipes by name, and the hyperparameters that exist only with some of them."""

    networks: Mapping[str, Any] = field(default_factory=dict)
    losses: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    recipes: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: type[BaseModel] | None = None

    @property
    def by_choice(self) -> dict[str, Mapping[str, Any]]:
        """Its tables by the hyperparameter that chooses from them."""
        return {"architecture": self.networks, "loss": self.losses, "recipe": self.recipes}


# The tables of a plugin: what their entries must be, and whether a value is one.
TABLES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "NETWORKS": ("a Network", lambda value: all(callable(getattr(value, name, None)) for name in ("build", "stride"))),
    "LOSSES": ("a function", callable),
    "RECIPES": ("a subclass of Recipe", lambda value: isinstance(value, type) and hasattr(value, "after_update")),
}


@lru_cache(maxsize=64)
def parts_of(plugin: Plugin) -> Parts:
    """Execute a plugin, once per process, and return what it adds."""
    module = _executed(plugin)
    networks, losses, recipes = (_table(plugin, module, name) for name in TABLES)
    if not (networks or losses or recipes):
        raise UserError(f"{plugin.name}: adds nothing: it needs one of the tables {', '.join(TABLES)}")
    hyperparameters = getattr(module, HYPERPARAMETERS, None)
    if hyperparameters is not None and not (
        isinstance(hyperparameters, type) and issubclass(hyperparameters, BaseModel)
    ):
        raise UserError(f"{plugin.name}: {HYPERPARAMETERS} must be a subclass of pydantic.BaseModel")
    return Parts(networks, losses, recipes, hyperparameters)


def is_in(plugin: Plugin, error: BaseException) -> bool:
    """Whether an error passed through the code of a plugin."""
    return any(frame.filename == str(plugin.kept) for frame in traceback.extract_tb(error.__traceback__))


def explained(plugin: Plugin, error: BaseException) -> str:
    """An error of a plugin's code in one line, with the line of the file that it happened in."""
    first = (str(error).strip().splitlines() or [""])[0]
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(plugin.kept)]
    if isinstance(error, SyntaxError) and error.filename == str(plugin.kept):
        lines, text = [error.lineno], f"SyntaxError: {error.msg}"
    return f"{plugin.name}, line {lines[-1]}: {text}" if lines else f"{plugin.name}: {text}"


def _executed(plugin: Plugin) -> ModuleType:
    keep(plugin)  # tracebacks and compilers read the file
    module = ModuleType(f"plugin_{plugin.hash[:16]}", f"The plugin {plugin.name}.")
    module.__file__ = str(plugin.kept)
    sys.modules[module.__name__] = module  # where pydantic and dataclasses look names up
    try:
        exec(compile(plugin.source, str(plugin.kept), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        raise UserError(explained(plugin, error)) from error
    return module


def _table(plugin: Plugin, module: ModuleType, name: str) -> Mapping[str, Any]:
    table = getattr(module, name, {})
    if not isinstance(table, dict):
        raise UserError(f"{plugin.name}: {name} must be a dictionary of names")
    kind, fits = TABLES[name]
    for key, value in table.items():
        if not isinstance(key, str) or not NAME.fullmatch(key):
            raise UserError(f"{plugin.name}: {name}: {key!r}: a name has lower-case letters, digits, '-', '_' and '+'")
        if not fits(value):
            raise UserError(f"{plugin.name}: {name}[{key!r}] must be {kind}, not {type(value).__name__}")
    return table
