"""A Ray without token authentication is joined only with RAY_AUTH_MODE=disabled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_cluster import FakeCluster

ROOT = Path(__file__).parents[3]
JOIN = """
import sys, ray
from cluster.connection.connect import connected
from trainable.errors import UserError
try:
    with connected(sys.argv[1]):
        print("joined", len(ray.nodes()))
except UserError as refused:
    print(refused)
"""


@pytest.fixture(scope="module")
def address():
    cluster = FakeCluster(nodes=0, RAY_AUTH_MODE="disabled")
    yield cluster.address
    cluster.close()


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ({}, "requires no token, so anyone who can reach it can run code there"),
        ({"RAY_AUTH_MODE": "disabled"}, "joined 1"),
    ],
)
def test_a_cluster_without_a_token_is_joined_only_on_request(address, mode, message):
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
    environment = inherited | {"PYTHONPATH": str(ROOT)} | mode
    done = subprocess.run(
        [sys.executable, "-c", JOIN, address], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert message in done.stdout, done.stderr
