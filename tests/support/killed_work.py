"""Runs a function in a process of its own, for tests in which that process is killed.

A fork of the test runner will not do: once PyTorch has started threads of its own there, forks of it cannot train.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path

from ray import cloudpickle


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def run_until_killed(fork_server, work):
    """Run ``work``, a function without arguments, and make sure that it was killed, not finished."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "work.pickle")
        path.write_bytes(cloudpickle.dumps(work))
        done = fork_server.run([__file__, path], folder, environment)
    assert done.returncode == -signal.SIGKILL, done.stderr


if __name__ == "__main__":
    cloudpickle.loads(Path(sys.argv[1]).read_bytes())()
