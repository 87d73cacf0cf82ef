"""The searches into which benchmarks/chaos.py injects faults: scripted fold trials, and real ones of every kind.

The configs of each search differ so much that the winner does not depend on the order of the fold trials, and on a CPU
real ones score the same however often they were interrupted.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from trainable.data.synthetic.synthesize import synthesize

SCRIPTED, TORCH, IMAGES, PRETRAINING = "scripted", "torch", "images", "pre-training"
VICTIMS = (SCRIPTED, TORCH, IMAGES, PRETRAINING)
RATES = (1e-2, 1e-3, 1e-4, 1e-6)
# Faults of the script itself: (the fault, how often in each fold trial).
SCRIPTED_FAULTS = {"fold trial hangs": ("hang", 1), "fold trial crashes": ("crash", 3), "disk full": ("disk_full", 1)}
TINY = {"encoder": "test_resnet", "attention": None, "batch_size": 4}
STAGE = {
    "pretraining": "dino",
    "pretraining_epochs": 24,
    "pretraining_batch_size": 8,
    "local_crops": 0,
    "projection_size": 16,
}


def make_data(folder: Path) -> Path:
    """Images to train real fold trials on, unless they are there already."""
    if not folder.exists():
        synthesize(folder, images=24, test_images=0, width=96, height=80, seed=1)
    return folder


def space_of(victim: str, kind: str | None, world: int, scheduler: str, seed: int, data: Path) -> dict[str, Any]:
    """The space of a search; of the scripted ones, the script has the faults of this kind."""
    rng = random.Random(f"{seed} {world} {kind}")
    space: dict[str, Any] = {"folds": 2, "scheduler": scheduler, "resources": {"gpu": 0, "cpu": 2}}
    if victim != SCRIPTED:
        space["data"] = str(data)
    parameters: dict[str, Any]
    if victim == SCRIPTED:
        space["trainable"] = "scripted"
        qualities = random.Random(f"{seed} {world}").sample([round(0.60 + 0.03 * k, 2) for k in range(6)], 6)
        parameters = {"quality": {"values": qualities}, "noise": 0.002, "steps": 20, "evaluations": 20}
        parameters |= {"step_seconds": 0.15, "fault": "none"}
        if kind in SCRIPTED_FAULTS:
            fault, times = SCRIPTED_FAULTS[kind]
            parameters |= {"fault": fault, "fault_times": times, "fault_step": rng.randint(2, 6)}
    elif victim == TORCH:
        parameters = {**TINY, "learning_rate": {"values": [*RATES]}, "steps": 120, "evaluations": 12}
    elif victim == IMAGES:
        space["trainable"] = "image"
        parameters = {"method": "cnn", "width": 8, "iterations": 60, "learning_rate": {"values": [*RATES]}}
        parameters |= {"steps": 12, "evaluations": 12}
    else:
        parameters = {**TINY, **STAGE, "learning_rate": {"values": [*RATES[:3]]}, "steps": 24, "evaluations": 4}
    return {**space, "parameters": {**parameters, "seed": world}}
