"""Two running searches that many tests inspect while their workers wait."""

import os

import pytest
from launched_search import ROOT, SECRETS, SPACES, Search, running_jobs, wait_for


@pytest.fixture(scope="module")
def token_file(tmp_path_factory):
    return tmp_path_factory.mktemp("token") / "token"


@pytest.fixture(scope="module")
def searches(tmp_path_factory, token_file):
    folder = tmp_path_factory.mktemp("searches")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
        "SCRIBBLE_SEARCH_DASHBOARD": "1",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        "RAY_metrics_report_interval_ms": "5000",
        "SCRIBBLE_SEARCH_CACHE": str(folder / "cache"),
        **SECRETS,
    }
    started = []
    try:
        for name in SPACES:
            started.append(Search(folder, name, environment))
        for search in started:
            wait_for(lambda search=search: running_jobs(search.run) == {("none", 0), ("none", 1)}, search)
        yield started
    finally:
        for search in started:
            search.stop()
