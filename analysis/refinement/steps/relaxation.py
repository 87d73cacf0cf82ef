"""The smoothest segmentation that fits the probabilities, with borders where the image has edges (see ``relax``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from analysis.refinement.steps.step import Maps, MapStep, Scene
from trainable.images.relaxation import edge_weights, relax

CERTAIN = 1e-4  # no probability is taken to be smaller
LONGEST = 200  # longer side, in pixels, to which larger images are reduced
STEPS, GAP = 500, 1e-3


@dataclass(frozen=True)
class Relaxation(MapStep):
    """``smoothness`` is the cost of a border as long as the longer side, in logits of all its pixels.

    ``edge_gamma`` says how much cheaper borders are where colours change; black to white is the square root of 3.
    """

    name: ClassVar[str] = "relaxation"
    smoothness: float
    edge_gamma: float

    def apply(self, maps: Maps, scene: Scene) -> Maps:
        whole = torch.tensor(maps, device=scene.device)[None]
        colours = torch.tensor(scene.image, device=scene.device, dtype=torch.float32).permute(2, 0, 1)[None] / 255
        longer = max(maps.shape[1:])
        if longer > LONGEST:
            size = [max(1, round(side * LONGEST / longer)) for side in maps.shape[1:]]
            whole, colours = (F.interpolate(each, size=size, mode="area") for each in (whole, colours))
        costs = -whole.clamp_min(CERTAIN).log()
        smoothness = self.smoothness * max(costs.shape[2:])
        found = relax(costs, edge_weights(colours, self.edge_gamma), smoothness, iterations=STEPS, gap=GAP)
        found = F.interpolate(found, size=maps.shape[1:], mode="bilinear", align_corners=False)[0]
        return found.cpu().numpy()
