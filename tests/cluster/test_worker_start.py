"""A worker of a local Ray is started as Ray's own script would start it."""

import json
import subprocess
import sys

import pytest
from ray._private.workers import setup_worker

from cluster import worker_start

SCRIPT = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ.get('SET'), sys.executable]))"


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"env_vars": {"SET": "${PART}/end${UNKNOWN_PART}"}, "command_prefix": [], "py_executable": sys.executable},
        {"env_vars": None, "java_jars": []},
        {"command_prefix": ["SET=prefix"]},
    ],
)
def test_it_becomes_the_same_process(tmp_path, monkeypatch, context):
    monkeypatch.setenv("PART", "start of it")
    worker = tmp_path / "worker.py"
    worker.write_text(SCRIPT)
    words = [worker, "--object-store=a b", "$PART", f"--serialized-runtime-env-context={json.dumps(context)}"]
    started = [
        subprocess.run([sys.executable, script.__file__, *words, "--language=PYTHON"], capture_output=True, text=True)
        for script in (worker_start, setup_worker)
    ]
    assert started[0].returncode == 0, started[0].stderr
    assert json.loads(started[0].stdout) == json.loads(started[1].stdout)
