"""Smaller networks for tests of what does not depend on the width of a network."""

from functools import partial

import pytest
import segmentation_models_pytorch as smp

PYRAMID = (32, 16, 16, 16, 16)
DECODERS = {
    "Unet": {"decoder_channels": PYRAMID},
    "UnetPlusPlus": {"decoder_channels": PYRAMID},
    "UPerNet": {"decoder_channels": 16},
    "DeepLabV3Plus": {"decoder_channels": 16},
    "Segformer": {"decoder_segmentation_channels": 16},
}


@pytest.fixture(scope="module")
def narrow_decoders():
    """Decoders of smp with a few channels, in this process; the encoders are small by their names."""
    with pytest.MonkeyPatch.context() as patch:
        for name, channels in DECODERS.items():
            patch.setattr(smp, name, partial(getattr(smp, name), **channels))
        yield
