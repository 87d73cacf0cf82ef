"""Every key that a space file may have, with its type, range and default."""
