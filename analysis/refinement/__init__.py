"""Post-processing: the steps that refine the probabilities or the mask of an image, and chains of them."""
