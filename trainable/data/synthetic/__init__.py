"""Synthetic data sets: scenes of two classes, structures of several ones, and scribbles drawn from their masks."""
