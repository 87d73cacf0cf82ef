"""Encoders by name: those of segmentation-models-pytorch and every model of timm."""

import segmentation_models_pytorch as smp
import timm

from trainable.errors import UserError, did_you_mean


def encoder_name(name: str) -> str:
    """smp's own encoders by their name, any other timm model through smp's wrapper (``tu-``)."""
    own = smp.encoders.get_encoder_names()
    if name in own:
        return name
    model = name.removeprefix("tu-")
    if timm.is_model(model.split(".")[0]):
        return f"tu-{model}"
    hint = did_you_mean(model, [*own, *timm.list_models()])
    raise UserError(
        f"encoder = {name!r}: unknown to smp and timm.{hint} Allowed are smp's encoders and timm.list_models()"
    )
