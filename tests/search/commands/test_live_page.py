"""The live page that a launch starts and ends."""

import os
import queue
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from search.commands import live_page as module
from search.commands.live_page import live_page

ROOT = Path(__file__).parents[3]


def test_the_live_page_is_there_during_a_launch_and_not_after_it(tmp_path, monkeypatch):
    said: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(module, "say", said.put)
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    with live_page(str(tmp_path)):
        address = said.get(timeout=60).removeprefix("live page: ")
        with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(address, timeout=30) as answer:
            assert answer.status == 200 and "There is no run" in answer.read().decode()
    assert "has ended with the launch" in said.get(timeout=60)
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(address, timeout=30)


def test_a_live_page_that_does_not_start_says_how_to_find_out_why(monkeypatch):
    said: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(module, "say", said.put)
    with live_page("s3://bucket?nonsense=1"):
        assert "did not start" in said.get(timeout=60)
