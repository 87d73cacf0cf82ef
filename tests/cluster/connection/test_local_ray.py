"""A Ray of this machine leaves the process that started it as it was."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAM = """
import atexit, os, weakref
from ray._private import worker
from cluster.connection.local_ray import local_ray
with local_ray(dashboard=False):
    node = weakref.ref(worker._global_node)
child = os.fork()
if not child:
    atexit._clear()  # as processes of multiprocessing do since Python 3.13
    os._exit(node() is None)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_after_the_shutdown_does_not_destroy_the_node(tmp_path, fork_server):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    output, errors = fork_server.start([program], ROOT, environment).communicate(timeout=150)
    assert output == "0\n", errors
