"""The token that restricts Ray to its owner: without it, the dashboard and every other endpoint answer 401.

Anyone who can connect to Ray can run code as the user who started it. Ray requires a token by default, but creates
one that every account of the machine can read; so it is created here, before Ray looks for it.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from trainable.errors import UserError
from trainable.storage.atomic_files import TEMPORARY

DEFAULT_PATH = Path("~/.ray/auth_token")  # Ray's default


def ensure_token() -> str:
    """Create a token that only this user can read, unless there is one; a message that says where it is."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return "no token required: RAY_AUTH_MODE is set, so every user of this machine has access"
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "asks once for the token in RAY_AUTH_TOKEN"
    custom = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(custom) if custom else DEFAULT_PATH.expanduser()
    try:
        if not path.exists():
            _create(path)
        elif not custom and path.stat().st_mode & 0o077:
            path.chmod(0o600)
        if not path.read_text().strip():
            raise UserError(f"{path}: contains no Ray token; remove it, and the next launch creates one")
    except OSError as error:
        raise UserError(f"{path}: cannot be used for Ray's token ({error.strerror}); see RAY_AUTH_TOKEN_PATH") from None
    return f"asks once for a token, which this shows: cat {path}"


def _create(path: Path) -> None:
    """Create the file atomically; if two launches do so at once, the first one wins."""
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
