"""Spaces: reading and checking the YAML files that define a search.

Nothing is imported here; start at ``spaces.load.load_space`` and ``spaces.space.Space``.
"""
