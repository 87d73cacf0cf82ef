"""The fold loop: one fold of one config from its first step to its results, interruptible and resumable."""
