"""Recorded and generated learning curves, and policies replayed on them with a simulated cluster."""
