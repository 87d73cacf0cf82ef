"""Ensembles of fold models: building them, predicting with them and scoring masks."""
