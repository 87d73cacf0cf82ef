"""The Grafana dashboard of a run, copied to the folder where Ray also writes its own dashboards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainable.printing import say
from trainable.storage.atomic_files import cache_folder, write_text

BOARD = Path(__file__).parents[1] / "files" / "monitoring" / "grafana-dashboard.json"
FOLDER_VARIABLE = "RAY_METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR"


@contextmanager
def dashboard_provided() -> Iterator[None]:
    """Copy the dashboard before Ray starts; the folder is the user's if the variable is set."""
    custom = os.environ.get(FOLDER_VARIABLE)
    folder = Path(custom or cache_folder().absolute() / "grafana")
    board, text = folder / BOARD.name, BOARD.read_text()
    try:
        if not board.exists() or board.read_text() != text:
            write_text(board, text)
    except OSError as error:
        say(f"{folder}: cannot write the Grafana dashboard ({error.strerror}); the search continues without it")
    os.environ[FOLDER_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if custom is None:
            os.environ.pop(FOLDER_VARIABLE, None)
