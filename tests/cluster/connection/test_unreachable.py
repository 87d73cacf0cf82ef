"""Addresses that cannot be reached are reported as such."""

import socket

import pytest

from cluster.connection import connect
from trainable.errors import UserError


def test_a_port_that_never_answers_is_unreachable(monkeypatch):
    monkeypatch.setattr(connect, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UserError, match=f"^{address}: unreachable, nothing answered there within 0.5 s$"):
            connect._check_reachable(address)


def test_a_host_without_an_address_is_unreachable():
    with pytest.raises(UserError, match=r"^no-such-host\.invalid:6379: unreachable \("):
        connect._check_reachable("no-such-host.invalid:6379")
