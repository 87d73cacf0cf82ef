"""The board for Grafana, put where Ray tells Grafana to look; Ray writes its own boards beside it and leaves ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainable.printing import say
from trainable.storage.atomic_files import cache_folder, write_text

BOARD = Path(__file__).parents[1] / "files" / "monitoring" / "grafana-dashboard.json"
PLACE = "RAY_METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR"


@contextmanager
def board_provided() -> Iterator[None]:
    """To start a Ray with a dashboard in; a place for boards that somebody has named is kept."""
    named = os.environ.get(PLACE)
    folder = Path(named or cache_folder().absolute() / "grafana")
    board, text = folder / BOARD.name, BOARD.read_text()
    try:
        if not board.exists() or board.read_text() != text:
            write_text(board, text)
    except OSError as error:
        say(f"{folder}: the board for Grafana cannot be put there ({error.strerror}); the search goes on without")
    os.environ[PLACE] = str(folder)
    try:
        yield
    finally:
        if named is None:
            os.environ.pop(PLACE, None)
