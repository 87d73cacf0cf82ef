"""What a data set is: reading it, decoding it once, its folds, sending it elsewhere, synthetic and imported ones."""
