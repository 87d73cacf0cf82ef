"""Fold models averaged into one: making it, predicting with it and scoring its masks."""
