"""Choosing the post-processing of a config by nested cross-validation on its out-of-fold probabilities."""
