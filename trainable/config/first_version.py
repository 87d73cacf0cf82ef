"""Hyperparameters of the first version: they are part of every id, later ones only where they have another value."""

FIRST = frozenset(
    {
        "architecture",
        "encoder",
        "encoder_weights",
        "attention",
        "dropout",
        "loss",
        "lambda_region",
        "lambda_bce",
        "pc",
        "augmentation",
        "size",
        "batch_size",
        "learning_rate",
        "final_learning_rate",
        "warmup_steps",
        "weight_decay",
        "gradient_clip",
        "ema",
        "steps",
        "evaluations",
        "patience",
        "precision",
        "acceleration",
        "tau",
        "seed",
    }
)
