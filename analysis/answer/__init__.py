"""The answer of a run: the winner, its peers and comparisons of configs, as values, words and JSON."""
