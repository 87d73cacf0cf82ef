"""Recipes: how a batch of images and labels becomes the loss of a training step; nothing about optimizers or folds."""
