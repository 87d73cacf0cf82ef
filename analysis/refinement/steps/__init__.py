"""One file per kind of step: what it does to the probabilities or to the mask of one image."""
