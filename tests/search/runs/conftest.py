"""A search that is launched in this process, and its run."""

import pytest
from launched_here import use_here

from search.runs.run_folder import Run


@pytest.fixture
def search(monkeypatch):
    return use_here(monkeypatch)


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "runs/demo")
