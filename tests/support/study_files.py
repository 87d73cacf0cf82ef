"""Optuna studies in SQLite files."""

import optuna
from sqlalchemy.pool import NullPool


def open_study(path):
    """The study of a run; its connections are closed after each use, as Python 3.13 warns about others."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"poolclass": NullPool})
    return optuna.load_study(storage=storage, study_name="demo")
