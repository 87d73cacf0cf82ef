"""``python -m search`` that treats a fold trial as hanging after four seconds without a step instead of ten minutes."""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import search.commands.launch
from search.__main__ import app
from search.engine.settings import EngineSettings
from trainable.exit_codes import run

if __name__ == "__main__":  # and not in the processes that it spawns
    search.commands.launch.EngineSettings = partial(EngineSettings, hang_seconds=4.0)
    run(app)
