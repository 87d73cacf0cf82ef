"""Plans without building networks to know their size, which takes a process with torch."""

import pytest

import search.runs.disk

WEIGHTS = 40_000_000  # bytes of every network


@pytest.fixture(autouse=True)
def network_sizes(monkeypatch):
    monkeypatch.setattr(search.runs.disk, "weight_bytes", lambda configs: {each.id: WEIGHTS for each in configs})
