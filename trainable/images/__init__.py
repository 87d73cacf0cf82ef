"""Methods that segment one image from its own scribbles, and the fold trials that run them over held-out images."""
