"""A real Chromium without a window; tests are skipped where there is none, except in continuous integration."""

import os
from contextlib import contextmanager

import pytest

from analysis.report.png import find_browser
from trainable.errors import UserError

PATIENCE = 120_000  # milliseconds on a busy machine
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium_or_skip():
    try:
        return find_browser()
    except UserError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("no Chromium here: apt-get install chromium")


@contextmanager
def opened_browser():
    path = chromium_or_skip()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        window = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield window
        window.close()
