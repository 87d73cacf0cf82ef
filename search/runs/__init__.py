"""A run on disk: its journal, what is computed from it, and recovery from a damaged one."""
