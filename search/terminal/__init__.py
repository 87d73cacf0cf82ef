"""The terminal output of a run: the live view, plain event lines and tables."""
