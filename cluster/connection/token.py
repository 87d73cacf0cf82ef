"""The token that opens a Ray to its owner alone: without it the dashboard, and every other door, answers 401.

Whoever may talk to a Ray may run code as whoever started it. Ray asks for a token by default, but writes one that
every account of the machine can read; so it is made here, before Ray looks for it.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from trainable.errors import UserError
from trainable.storage.atomic_files import TEMPORARY

HOME = Path("~/.ray/auth_token")  # where Ray looks if nobody says otherwise


def ensure_token() -> str:
    """Make a token where there is none, for this user's eyes only; the words that tell a person where it is."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return "open to everybody on this machine: RAY_AUTH_MODE says so"
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "the token is in RAY_AUTH_TOKEN"
    told = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(told) if told else HOME.expanduser()
    try:
        if not path.exists():
            _make(path)
        elif not told and path.stat().st_mode & 0o077:
            path.chmod(0o600)
        if not path.read_text().strip():
            raise UserError(f"{path}: holds no token for Ray; remove it, and the next launch makes one")
    except OSError as error:
        raise UserError(f"{path}: cannot be used for Ray's token ({error.strerror}); see RAY_AUTH_TOKEN_PATH") from None
    return f"the token: cat {path}"


def _make(path: Path) -> None:
    """Whole or not at all, also when two launches do this at once: the first one wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
