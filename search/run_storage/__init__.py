"""Runs in an object store, and finding a run wherever it lives."""
