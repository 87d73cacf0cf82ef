"""Spaces: YAML files that say what may be tried, what that means, and every mistake in them at once.

Nothing is imported here; start at ``spaces.load.load_space`` and ``spaces.space.Space``.
"""
