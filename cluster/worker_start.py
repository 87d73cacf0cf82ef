"""Starts a worker of a local Ray; this file is run by the raylet in place of Ray's ``setup_worker.py``.

Ray's own file imports Ray to read a few options, and the worker that it then becomes imports Ray again. What it does
for workers with settings beyond environment variables is left to it.
"""

import json
import os
import re
import sys
from pathlib import Path

CONTEXT, LANGUAGE = "--serialized-runtime-env-context=", "--language="


def main(words: list[str]) -> None:
    context = json.loads(next((word.removeprefix(CONTEXT) for word in words if word.startswith(CONTEXT)), "{}"))
    variables = context.pop("env_vars", None) or {}
    usual = context.pop("py_executable", sys.executable) in (None, sys.executable) and not any(context.values())
    if not usual or f"{LANGUAGE}PYTHON" not in words:
        from ray._private.workers import setup_worker

        os.execv(sys.executable, [sys.executable, str(Path(setup_worker.__file__)), *words])
    for name, value in variables.items():  # with other variables in them, those that are unset being empty
        os.environ[name] = re.sub(r"\$\{[A-Z0-9_]+\}", "", os.path.expandvars(value))
    os.execv(sys.executable, [sys.executable, *(word for word in words if not word.startswith((CONTEXT, LANGUAGE)))])


if __name__ == "__main__":
    main(sys.argv[1:])
