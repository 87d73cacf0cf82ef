"""SAM (Kirillov et al., 2023) of transformers, prompted with points on the scribbles, fine-tuned in part or whole."""

from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainable.config import Config
from trainable.networks.prompts import spread_points
from trainable.networks.sam_weights import load_sam
from trainable.networks.scribble_network import Channels

# The image encoders: width, layers, heads, and the layers that attend to the whole image.
ENCODERS: dict[str, tuple[int, int, int, list[int]]] = {
    "tiny": (32, 2, 2, [1]),
    "base": (768, 12, 12, [2, 5, 8, 11]),
    "large": (1024, 24, 16, [5, 11, 17, 23]),
    "huge": (1280, 32, 16, [7, 15, 23, 31]),
}
NO_POINT = -1  # the label of a place that is not a point


def sam(config: Config, channels: Channels) -> nn.Module:
    return Sam(config, channels)


class Sam(nn.Module):
    """Sees the image at SAM's own size. Of two classes there is one prompt; of more, one per class but the first.

    A prompt has the points of its class as positive and those of all other classes as negative ones. Strokes that are
    missing leave places that are no points, so without any scribble SAM sees the image alone.
    """

    def __init__(self, config: Config, channels: Channels) -> None:
        super().__init__()
        self.colours = channels.inputs - channels.outputs
        self.classes = max(2, channels.outputs)
        self.points = config.sam_points
        self.model = _model(config)
        self.threshold = nn.Parameter(torch.zeros(self.classes - 1))  # learnt, as the background's logit is always 0
        # After the weights have been loaded, since this changes names.
        decoder = self.model.mask_decoder
        decoder.upscale_conv2 = nn.Sequential(decoder.upscale_conv2, nn.Dropout2d(config.dropout))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        side = self.model.config.vision_config.image_size
        scale = side / max(height, width)
        size = (max(1, round(scale * height)), max(1, round(scale * width)))
        masks = self._masks(_three(x[:, : self.colours]), *self._prompts(x[:, self.colours :], size), size)
        masks = F.interpolate(masks.float(), (side, side), mode="bilinear", align_corners=False)
        masks = masks[..., : size[0], : size[1]]
        logits = F.interpolate(masks, (height, width), mode="bilinear", align_corners=False)
        logits = logits - self.threshold[:, None, None]
        return logits if self.classes == 2 else torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)

    def _prompts(self, strokes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Points (B, K - 1, N, 2) at SAM's size and their labels (B, K - 1, N), of N points of all classes."""
        drawn = torch.cat([strokes < 0, strokes > 0], dim=1) if self.classes == 2 else strokes > 0
        places, exist = spread_points(drawn, self.points)
        scales = (size[1] / strokes.shape[3], size[0] / strokes.shape[2])
        # The library adds half a pixel to what it is given.
        x, y = ((side + 0.5) * scale - 0.5 for side, scale in zip(places.flatten(1, 2).unbind(-1), scales, strict=True))
        owner = torch.arange(self.classes, device=strokes.device).repeat_interleave(self.points)
        positive = owner == torch.arange(1, self.classes, device=strokes.device)[:, None]
        labels = torch.where(exist.flatten(1)[:, None], positive.float(), float(NO_POINT))
        return torch.stack([x, y], dim=-1)[:, None].expand(-1, self.classes - 1, -1, -1), labels

    def _masks(self, image: Tensor, points: Tensor, labels: Tensor, size: tuple[int, int]) -> Tensor:
        """The logits of each prompt's mask (B, K - 1, h, w) at a quarter of SAM's size."""
        model, side = self.model, self.model.config.vision_config.image_size
        image = F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)
        image = F.pad(image, (0, side - size[1], 0, side - size[0]))
        with image.device:  # where the library makes its tables of indices; copies from the host would be waited for
            seen = model.vision_encoder(image)[0]
        # Places are too precise for bf16; torch's meta device has no autocast.
        with nullcontext() if image.is_meta else torch.autocast(image.device.type, enabled=False):
            sparse, dense = model.prompt_encoder(points, labels, None, None)
            places = model.get_image_wide_positional_embeddings().expand(len(image), -1, -1, -1)
        masks: Tensor = model.mask_decoder(seen, places, sparse, dense, multimask_output=False)[0]
        return masks[:, :, 0]


def _model(config: Config) -> Any:
    from transformers import SamConfig, SamModel  # late: an optional package

    width, layers, heads, whole = ENCODERS[config.sam_size]
    tiny = config.sam_size == "tiny"
    side, patch, channels = (64, 8, 32) if tiny else (1024, 16, 256)
    model = SamModel(
        SamConfig(
            vision_config={
                "hidden_size": width,
                "num_hidden_layers": layers,
                "num_attention_heads": heads,
                "global_attn_indexes": whole,
                "output_channels": channels,
                "num_pos_feats": channels // 2,
                "image_size": side,
                "patch_size": patch,
                "window_size": 4 if tiny else 14,
                "initializer_range": width**-0.5,  # the library's own is 0 in effect, and a tiny SAM would not learn
            },
            prompt_encoder_config={"hidden_size": channels, "image_size": side, "patch_size": patch},
            mask_decoder_config={"hidden_size": channels, "mlp_dim": 32 if tiny else 2048},
            initializer_range=channels**-0.5,
        )
    )
    if config.sam_weights is not None:
        load_sam(model, config.sam_weights, config.sam_size)
    model.requires_grad_(config.sam_trains == "all")
    if config.sam_trains == "decoder":
        model.mask_decoder.requires_grad_(True)
    prompts, decoder = model.prompt_encoder, model.mask_decoder
    unused = [prompts.mask_embed, *prompts.point_embed[2:], decoder.iou_prediction_head]
    # The embedding of places is fixed in SAM, although the library makes it a parameter.
    for part in (
        *unused,
        *decoder.output_hypernetworks_mlps[1:],
        model.shared_image_embedding,
        prompts.shared_embedding,
    ):
        part.requires_grad_(False)
    return model


def _three(image: Tensor) -> Tensor:
    """SAM's three channels: grey is repeated, of more than three channels the first are taken."""
    return image.repeat(1, 3, 1, 1)[:, :3] if image.shape[1] < 3 else image[:, :3]
