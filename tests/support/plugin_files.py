"""Plugins as files: one that works, and variations of it."""

from pathlib import Path

from trainable.config.plugins.extended import extended
from trainable.config.plugins.parts import parts_of

TEXT = """
from pathlib import Path

from pydantic import BaseModel, Field
from torch import nn

from trainable import Network, only_with

with Path("{log}").open("a") as log:
    log.write("executed\\n")


class Hyperparameters(BaseModel):
    tiny_width: int = Field(4, ge=2, description="channels", json_schema_extra=only_with(architecture=("tiny",)))
    slope: float = Field(2.0, gt=0, description="of the gap", json_schema_extra=only_with(loss=("gap",)))


class Tiny(nn.Sequential):
    def __init__(self, config, channels):
        width = config.tiny_width
        super().__init__(nn.Conv2d(channels.inputs, width, 3, padding=1), nn.Conv2d(width, channels.outputs, 1))


def gap(probabilities, truth, slope):
    return slope * (probabilities - truth).abs().mean((-2, -1))


NETWORKS = {{"tiny": Network(Tiny, lambda config: 1)}}
LOSSES = {{"gap": gap}}
"""


def write_plugin(folder: Path, name: str = "parts.py", **changes: str) -> Path:
    """The plugin, with texts replaced; ``executions`` counts how often its files were executed."""
    text = TEXT.format(log=folder / "log")
    for old, new in changes.items():
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return folder / name


def executions(folder: Path) -> int:
    log = folder / "log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def forget() -> None:
    """Execute plugins again, as in a new process."""
    parts_of.cache_clear()
    extended.cache_clear()
