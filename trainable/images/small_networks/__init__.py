"""Small networks that are trained on the scribbles of one image, many at once."""
