"""What a run looks like in a terminal: the live view, plain lines and tables."""
