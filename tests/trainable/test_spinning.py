"""Importing the package limits how long waiting threads spin, unless the user has decided that."""

import os
import subprocess
import sys

import pytest

ASK = "import os, trainable; print(os.environ.get('GOMP_SPINCOUNT'))"


@pytest.mark.parametrize(
    ("given", "used"), [({}, "2000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")]
)
def test_threads_spin_briefly_unless_the_user_says_otherwise(given, used):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_WAIT"))}
    done = subprocess.run([sys.executable, "-S", "-c", ASK], env=inherited | given, capture_output=True, text=True)
    assert done.stdout.strip() == used
