"""Hyperparameters of methods that segment one image at a time."""
