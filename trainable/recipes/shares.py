"""The shares in which images are mixed, drawn on the device."""

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor, nn

INTERVALS = 1024  # of the table of quantiles


class BetaShares(nn.Module):
    """Draws from Beta(alpha, alpha) by its quantiles.

    A table of them needs one uniform number per draw; torch's own sampler rejects some, and small alphas underflow.
    """

    quantiles: Tensor

    def __init__(self, alpha: float) -> None:
        super().__init__()
        values = betaincinv(alpha, alpha, np.linspace(0, 1, INTERVALS + 1))
        self.register_buffer("quantiles", torch.from_numpy(values).float(), persistent=False)

    def forward(self, *shape: int) -> Tensor:
        place = torch.rand(shape, device=self.quantiles.device) * INTERVALS
        below = place.long()
        # Not by an index, because torch reads the value of an index without dimensions.
        return torch.lerp(self.quantiles.take(below), self.quantiles.take(below + 1), place - below)
