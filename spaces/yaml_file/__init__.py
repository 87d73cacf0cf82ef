"""A space file as text: YAML with line numbers, overrides, and problems with their location."""
