"""One fold of one configuration, trained right: data, augmentation, models, losses, metrics and the fold loop.

Nothing is imported here, so that the pure parts (configuration, folds, metrics) load without torch.
"""
