"""Configs whose networks, losses, recipes and hyperparameters may be those of plugins.

Nothing is registered globally: a set of plugins has a class of configs of its own, and a config knows its plugins.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal, get_args

from pydantic import Field, create_model

from trainable.config.conditions import KEY, conditions_of
from trainable.config.hyperparameters import Config
from trainable.config.plugins.parts import HYPERPARAMETERS, Parts, parts_of
from trainable.config.plugins.plugin import PLUGINS, Plugin, recorded
from trainable.config.values import Region
from trainable.errors import UserError

Key = tuple[str, str]  # a hyperparameter, and one of the choices that it depends on


class PluginConfig(Config):
    """A config of one set of plugins; as JSON it names them and their hashes, which are not part of its id."""

    @property
    def network(self) -> tuple[tuple[str, Any], ...]:
        """What is measured with one version of a plugin is not valid for the next."""
        return (*super().network, (PLUGINS, " ".join(map(str, self.plugins))))

    def model_dump(self, **options: Any) -> dict[str, Any]:
        values = super().model_dump(**options)
        return values if PLUGINS in (options.get("exclude") or ()) else values | {PLUGINS: recorded(self.plugins)}

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.plugins, self.__getstate__())


def _restored(plugins: tuple[Plugin, ...], state: dict[Any, Any]) -> Config:
    """A pickled config brings its plugins along: whoever sends pickles to a process can execute code there anyway."""
    model = extended(plugins)
    config = model.__new__(model)
    config.__setstate__(state)
    return config


@lru_cache(maxsize=64)
def extended(plugins: tuple[Plugin, ...]) -> type[Config]:
    """The class of the configs that may use these plugins, which are executed."""
    if not plugins:
        return Config
    names: dict[str, list[str]] = {
        choice: list(get_args(Config.model_fields[choice].annotation)) for choice in Parts().by_choice
    }
    owners = dict.fromkeys([*Config.model_fields, *dir(Config)], "built-in")
    joined: dict[Key, tuple[str, ...]] = {}
    found = [parts_of(plugin) for plugin in plugins]
    for plugin, parts in zip(plugins, found, strict=True):
        for choice, table in parts.by_choice.items():
            for name in table:
                if name in names[choice]:
                    raise UserError(f"{plugin.name}: {choice} {name!r} exists already: choose another name")
                names[choice].append(name)
        _check_hyperparameters(plugin, parts, owners)
        _join(joined, [(each, "loss") for each in _of_regions()], parts.losses)
        for name, network in parts.networks.items():
            _join(joined, _used(plugin, name, network), [name])
    fields: Any = {choice: _choice(choice, values) for choice, values in names.items()}
    bases: Any = (*(parts.hyperparameters for parts in found if parts.hyperparameters is not None), PluginConfig)
    model: type[Config] = create_model("Config", __base__=bases, __module__=__name__, **fields)
    model.plugins, model.joined = plugins, joined
    networks, losses, recipes = (
        {name: part for parts in found for name, part in parts.by_choice[choice].items()} for choice in names
    )
    model.parts = Parts(networks, losses, recipes)
    return model


def _choice(name: str, values: list[str]) -> tuple[Any, Any]:
    """A field of the config with more values."""
    old = Config.model_fields[name]
    extra: Any = old.json_schema_extra
    return Literal[tuple(values)], Field(old.get_default(), description=old.description, json_schema_extra=extra)


def _check_hyperparameters(plugin: Plugin, parts: Parts, owners: dict[str, str]) -> None:
    """Those of a plugin need a default, a meaning and a choice of the plugin that they belong to."""
    model = parts.hyperparameters
    for name, field in {} if model is None else model.model_fields.items():
        where = f"{plugin.name}: {HYPERPARAMETERS}.{name}"
        if name in owners:
            raise UserError(f"{where}: exists already ({owners[name]}): choose another name")
        if field.is_required() or not field.description:
            raise UserError(f"{where}: needs a default and a description: Field(DEFAULT, description=...)")
        extra: Any = field.json_schema_extra
        choices = extra.get(KEY) if isinstance(extra, dict) else None
        own = parts.by_choice
        if not isinstance(choices, dict) or not all(
            choice in own and set(values) <= own[choice].keys() for choice, values in choices.items()
        ):
            raise UserError(
                f"{where}: must belong to a network, loss or recipe of this plugin, as in json_schema_extra="
                "only_with(loss=('my-loss',))"
            )
        owners[name] = plugin.name


def _of_regions() -> list[str]:
    """The hyperparameters that exist with every region loss."""
    regions = set(get_args(Region))
    return [name for name in Config.model_fields if regions <= set(conditions_of(Config, name).get("loss", ()))]


def _used(plugin: Plugin, network: str, entry: Any) -> list[tuple[str, str]]:
    """The built-in hyperparameters that a network of a plugin has as well."""
    some = [name for name in Config.model_fields if "architecture" in conditions_of(Config, name)]
    for name in entry.uses:
        if name not in some:
            rule = f"uses {name!r}: must be one of {', '.join(some)}; all others exist with every network"
            raise UserError(f"{plugin.name}: NETWORKS[{network!r}] {rule}")
    return [(name, "architecture") for name in entry.uses]


def _join(joined: dict[Key, tuple[str, ...]], keys: Iterable[Key], names: Iterable[str]) -> None:
    for key in keys:
        joined[key] = (*joined.get(key, ()), *names)


def own_hyperparameters(config: Config, choice: str) -> Mapping[str, Any]:
    """The values of the plugin's hyperparameters that belong to the value of a choice, such as the loss."""
    own = (name for name in type(config).model_fields if name not in Config.model_fields)
    named = getattr(config, choice)
    return {name: getattr(config, name) for name in own if named in conditions_of(type(config), name).get(choice, ())}
