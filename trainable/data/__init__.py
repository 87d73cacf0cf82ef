"""What a data set is: reading it, decoding it once, its folds, sending it to other machines, synthetic ones."""
