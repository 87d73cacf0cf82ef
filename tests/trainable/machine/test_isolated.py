"""Processes of one's own: what they return, and that they do not outlive their parent."""

import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest

from trainable.machine.isolated import in_fresh_process

PARENT = """
from trainable.machine.isolated import in_fresh_process
in_fresh_process(exec, "import time; print('works', flush=True); time.sleep(60)")
"""


def test_a_function_returns_or_raises_from_another_process():
    assert in_fresh_process(os.getpid) != os.getpid()
    with pytest.raises(ValueError, match="invalid literal"):
        in_fresh_process(int, "x")


def test_a_process_that_is_killed_is_an_error():
    with pytest.raises(BrokenProcessPool):
        in_fresh_process(os.abort)


def test_a_process_ends_if_its_parent_is_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "works\n"
        parent.kill()
        assert parent.communicate(timeout=30)[0] == "", "the output is closed when both have ended"
