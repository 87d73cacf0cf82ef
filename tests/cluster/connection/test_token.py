"""The token of Ray is made where there is none, is one user's alone, and is never printed."""

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


def test_a_token_is_made_once_and_for_this_user_alone(home):
    before = os.umask(0)
    try:
        words = ensure_token()
    finally:
        os.umask(before)
    path = home / ".ray/auth_token"
    token = path.read_text()
    assert len(token.strip()) == 64 and mode(path) == 0o600
    assert str(path) in words and token.strip() not in words
    assert ensure_token() == words and path.read_text() == token
    assert [file.name for file in path.parent.iterdir()] == ["auth_token"]


def test_a_token_that_ray_left_for_everybody_to_read_is_closed(home):
    path = home / ".ray/auth_token"
    path.parent.mkdir()
    path.write_text("made by ray")
    path.chmod(0o644)
    ensure_token()
    assert mode(path) == 0o600 and path.read_text() == "made by ray"


def test_a_token_is_kept_where_ray_is_told_to_look(home, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "deep/token"))
    assert str(home / "deep/token") in ensure_token() and mode(home / "deep/token") == 0o600
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    assert "RAY_AUTH_TOKEN" in (words := ensure_token()) and "secret" not in words
    assert not (home / ".ray").exists()


def test_who_turned_authentication_off_is_reminded_of_it(home, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "open to everybody" in ensure_token() and not (home / ".ray").exists()


def test_a_token_that_cannot_be_used_is_told_in_one_line(home, monkeypatch):
    (home / "empty").write_text("\n")
    for name, message in (("empty", "holds no token"), ("empty/below", "cannot be used"), (".", "cannot be used")):
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / name))
        with pytest.raises(UserError, match=message):
            ensure_token()
