"""Runs in an object store, and finding a run by name, folder or URL."""
