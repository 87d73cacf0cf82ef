"""Decides what to train next: policies that prune over steps and folds, and a simulator that replays them.

Nothing is imported here, so that the pure parts load without ray, torch or optuna.
"""
