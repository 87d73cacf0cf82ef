"""Every key of a space file, with its type, range and default."""
