"""The sources of configs (a list, random sampling, Optuna), and a study that adds configs while it runs."""
