"""Where configs come from: a list, random draws or Optuna, and studies that grow while they run."""
