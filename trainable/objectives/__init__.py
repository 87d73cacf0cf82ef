"""Losses and metrics: pure functions of predictions and labels."""
