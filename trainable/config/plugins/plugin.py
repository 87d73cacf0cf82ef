"""A plugin: a Python file of a user, and the rule for when it is executed.

A plugin is code, so it is executed only if the user has named its file on this machine. A named file is kept in the
cache under the hash of its content. Runs, models and jobs refer to plugins by hash; what is not kept is not executed.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainable.errors import UserError, did_you_mean
from trainable.storage.atomic_files import cache_folder, write_text

PLUGINS = "plugins"  # the key of space files and of configs as JSON
NAME, HASH = re.compile(r"[A-Za-z_]\w*\.py", re.ASCII), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Plugin:
    """The name of a file and its text."""

    name: str
    source: str = field(repr=False)

    @property
    def hash(self) -> str:
        """The SHA-256 of the file."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    @property
    def kept(self) -> Path:
        """Where the file is kept once it may be executed."""
        return _folder(self.hash) / self.name

    def __str__(self) -> str:
        return f"{self.name} {self.hash[:12]}"


def named_plugin(file: str | Path) -> Plugin:
    """Read a file that the user has named, which allows it to run on this machine."""
    path = Path(file)
    if not NAME.fullmatch(path.name) or "://" in str(file):
        raise UserError(f"{file}: must be a Python file on this machine with a name such as my_parts.py")
    try:
        plugin = Plugin(path.name, path.read_bytes().decode())
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such file.{did_you_mean(path.name, _neighbours(path))}") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: is not text in UTF-8") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    keep(plugin)
    return plugin


def keep(plugin: Plugin) -> None:
    """Allow a plugin to run on this machine."""
    if _kept(plugin.hash) is None:
        write_text(plugin.kept, plugin.source)


def recorded_plugin(name: str, content: str) -> Plugin:
    """The plugin that a run, a model or a job refers to; an error unless the user has named it on this machine."""
    if not NAME.fullmatch(str(name)) or not HASH.fullmatch(str(content)):
        raise UserError(f"{PLUGINS}: {name}: {content}: must be the name of a Python file and the hash of its content")
    source = _kept(content)
    if source is None:
        raise UserError(
            f"needs the plugin {name} (SHA-256 {content[:12]}...), which is code that you have not allowed on this "
            "machine. Its copy is in the folder of the run or model: read it, then run python -m trainable trust FILE"
        )
    return Plugin(name, source)


def plugins_of(value: object) -> tuple[Plugin, ...]:
    """Plugins by their files, or as ``recorded`` writes them."""
    if isinstance(value, Mapping):
        return tuple(recorded_plugin(name, content) for name, content in value.items())
    listed = [value] if isinstance(value, str | Path | Plugin) else value
    if not isinstance(listed, list | tuple) or not all(isinstance(each, str | Path | Plugin) for each in listed):
        raise UserError("must be a Python file or a list of them")
    plugins = tuple(each if isinstance(each, Plugin) else named_plugin(each) for each in listed)
    for plugin in plugins:
        if [other.name for other in plugins].count(plugin.name) > 1:
            raise UserError(f"two files are called {plugin.name}: rename one of them")
    return plugins


def recorded(plugins: Iterable[Plugin]) -> dict[str, str]:
    """What runs, models and jobs write: the hash of each plugin by its name."""
    return {plugin.name: plugin.hash for plugin in plugins}


def copy_plugins(plugins: Iterable[Plugin], folder: Path) -> dict[str, str]:
    """Copy plugins beside what needs them, to be read before anybody allows them; the hash of each copy by its name.

    After --force-code there may be two versions of a plugin; the second one's copy is named after its hash as well.
    """
    copies: dict[str, Plugin] = {}
    for plugin in dict.fromkeys(plugins):
        name = f"{plugin.name[:-3]}_{plugin.hash[:12]}.py" if plugin.name in copies else plugin.name
        copies[name] = plugin
        write_text(folder / name, plugin.source)
    return {name: plugin.hash for name, plugin in copies.items()}


def _folder(content: str) -> Path:
    return cache_folder() / PLUGINS / content


def _kept(content: str) -> str | None:
    """The text of this hash, if this user has kept it; a file of somebody else in a shared cache does not count."""
    for path in sorted(_folder(content).glob("*.py")):
        try:
            found = path.read_bytes()
            own = path.stat().st_uid == os.getuid()
        except OSError:
            continue
        if own and hashlib.sha256(found).hexdigest() == content:
            return found.decode()
    return None


def _neighbours(path: Path) -> list[str]:
    return [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
