"""Ray's token is created if missing, readable only by its owner, and never printed."""

import os
import stat

import pytest

from cluster.connection.token import ensure_token
from trainable.errors import UserError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_token_is_created_once_and_only_its_owner_can_read_it(home):
    before = os.umask(0)
    try:
        message = ensure_token()
    finally:
        os.umask(before)
    path = home / ".ray/auth_token"
    token = path.read_text()
    assert len(token.strip()) == 64 and mode(path) == 0o600
    assert str(path) in message and token.strip() not in message
    assert ensure_token() == message and path.read_text() == token
    assert [file.name for file in path.parent.iterdir()] == ["auth_token"]


def test_a_token_that_ray_left_readable_for_everyone_is_restricted(home):
    path = home / ".ray/auth_token"
    path.parent.mkdir()
    path.write_text("made by ray")
    path.chmod(0o644)
    ensure_token()
    assert mode(path) == 0o600 and path.read_text() == "made by ray"


def test_the_token_variables_of_ray_are_respected(home, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "deep/token"))
    assert str(home / "deep/token") in ensure_token() and mode(home / "deep/token") == 0o600
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    assert "RAY_AUTH_TOKEN" in (message := ensure_token()) and "secret" not in message
    assert not (home / ".ray").exists()


def test_disabled_authentication_is_reported(home, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "no token required" in ensure_token() and not (home / ".ray").exists()


def test_an_unusable_token_is_reported_in_one_line(home, monkeypatch):
    (home / "empty").write_text("\n")
    for name, message in (
        ("empty", "contains no Ray token"),
        ("empty/below", "cannot be used"),
        (".", "cannot be used"),
    ):
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / name))
        with pytest.raises(UserError, match=message):
            ensure_token()
