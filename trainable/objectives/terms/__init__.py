"""Terms of training losses: pure functions of predictions, labels and images that know no config."""
