"""Networks by name and the weights they start from; nothing about losses or training."""
