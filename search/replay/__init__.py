"""Replays policies on recorded or generated learning curves with a simulated cluster."""
