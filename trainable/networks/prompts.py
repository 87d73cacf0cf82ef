"""Points spread over the strokes of a batch, for networks that are prompted; the device is not waited for."""

import torch
from torch import Tensor


def spread_points(strokes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """``count`` points (B, K, count, 2) as x and y on each of the strokes (B, K, H, W), and which of them exist.

    The first is the stroke's pixel nearest to its centre of mass, each further one the pixel farthest from all before
    it, so they are evenly spaced along strokes of any shape and number. A stroke has at most as many points as pixels.
    """
    height, width = strokes.shape[-2:]
    x = torch.arange(width, device=strokes.device).repeat(height).float()
    y = torch.arange(height, device=strokes.device).repeat_interleave(width).float()
    drawn = strokes.flatten(2)
    share = drawn / drawn.sum(-1, keepdim=True).clamp(min=1)
    # Negative where there is no stroke, so that the best pixel is one of the stroke if there is any.
    priority = torch.where(drawn, 1 / (1 + _squared_distance(x, y, (share * x).sum(-1), (share * y).sum(-1))), -1.0)
    nearest = torch.where(drawn, torch.inf, -1.0)
    points, exist = [], []
    for _ in range(count):
        best = priority.argmax(dim=-1)
        exist.append(priority.amax(dim=-1) > 0)
        points.append(torch.stack([x[best], y[best]], dim=-1))
        nearest = torch.minimum(nearest, _squared_distance(x, y, x[best], y[best]))
        priority = torch.where(drawn, nearest, -1.0)
    return torch.stack(points, dim=2), torch.stack(exist, dim=2)


def _squared_distance(x: Tensor, y: Tensor, to_x: Tensor, to_y: Tensor) -> Tensor:
    """From each pixel (P) to a place per stroke (B, K), as (B, K, P)."""
    return (x - to_x[..., None]).square() + (y - to_y[..., None]).square()
