"""Which hyperparameters decide what a stage before training makes: configs that agree in them share it."""

from collections.abc import Mapping
from typing import Any

from trainable.config.hyperparameters import Config
from trainable.config.plugins.plugin import PLUGINS

# Everything else is taken to matter: a hyperparameter missing here costs time, one that is wrongly here shares weights
# that differ.
AFTER_PRETRAINING = frozenset(
    {
        "attention",  # in the decoder
        "dropout",  # before the last layer
        "loss",
        "alpha",
        "tversky_alpha",
        "tversky_beta",
        "lambda_focal",
        "focal_gamma",
        "focal_alpha",
        "objective",
        "border",
        "lambda_crf",
        "crf_radius",
        "crf_sigma_xy",
        "crf_sigma_intensity",
        "lambda_entropy",
        "lambda_tv",
        "lambda_ms",
        "recipe",
        "mix_alpha",
        "teacher_decay",
        "input_noise",
        "consistency",
        "consistency_rampup",
        "branch_dropout",
        "pseudo_weight",
        "mix_blocks",
        "mix_beta",
        "mix_gamma",
        "mix_eta",
        "mix_transport",
        "mix_transport_cost",
        "occlusion",
        "occlusion_size",
        "global_consistency",
        "local_consistency",
        "lambda_region",
        "lambda_bce",
        "pc",
        "class_weights",
        "supervision",
        "augmentation",
        "batch_size",
        "learning_rate",
        "encoder_learning_rate",
        "final_learning_rate",
        "warmup_steps",
        "weight_decay",
        "gradient_clip",
        "ema",
        "steps",
        "evaluations",
        "patience",
        "acceleration",
        "tau",
    }
)


def made_of(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """The part of a config's values that decides its pre-trained encoder; None if it has none.

    ``values`` are those of a config as JSON, where hyperparameters at their default may be missing. Those that only a
    script knows are left out.
    """
    if values.get("pretraining", "none") == "none":
        return None
    known = values if PLUGINS in values else Config.model_fields  # with the hash of a plugin, and what it adds
    return {name: values[name] for name in known if name in values and name not in AFTER_PRETRAINING}
