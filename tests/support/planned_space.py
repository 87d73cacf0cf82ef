"""A space whose plan can be computed by hand."""

from search.planning.plan import PlanOptions
from spaces.load import make_space

GRID = {
    "name": "hand",
    "data": "nowhere",
    "folds": 2,
    "parameters": {
        "loss": {"values": ["iou", "dice"]},
        "batch_size": {"values": [4, 8]},
        "size": "64x64",
        "steps": 100,
        "evaluations": 4,
    },
    "budget": {"cost_per_gpu_hour": 36.0},
    "resources": {"gpu": 0, "cpu": 1},
}
STATED = PlanOptions(step_seconds=0.1, slots=2)


def space(**more):
    parameters = GRID["parameters"] | more.pop("parameters", {})
    return make_space(GRID | {"parameters": parameters} | more)
