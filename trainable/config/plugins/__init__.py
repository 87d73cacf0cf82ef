"""Python files of a user that add networks, losses and recipes: when they are executed, what they add to configs."""
