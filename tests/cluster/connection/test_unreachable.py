"""Addresses that cannot be reached are reported as such."""

import socket

import pytest

from cluster.connection import connect, submission
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


@pytest.mark.parametrize(("text", "shown"), [("", "RuntimeError"), ("\nwrong token\nwhere", "wrong token")])
def test_a_refusal_of_ray_is_one_line_even_if_ray_gives_no_reason(monkeypatch, text, shown):
    def refuse(*arguments, **settings):
        raise RuntimeError(text)

    monkeypatch.setattr(connect, "use_token", lambda: None)
    monkeypatch.setattr(submission, "use_token", lambda: None)
    monkeypatch.setattr(connect.ray, "init", refuse)
    monkeypatch.setattr(submission, "JobSubmissionClient", refuse)
    with pytest.raises(UserError, match=rf"^auto: Ray refused the connection \({shown}\)"), connect.connected("auto"):
        pass
    with pytest.raises(UserError, match=rf"cannot submit jobs \({shown}\)"):
        submission.Submission("http://127.0.0.1:8265", "demo")
