"""Hyperparameters of methods that need no learning: GrabCut and the random walker."""

from pydantic import BaseModel, Field

from trainable.config.conditions import only_with

WITH_WALKER = only_with(method=("random_walker",))
WITH_GRABCUT = only_with(method=("grabcut",))


class ScribbleFields(BaseModel):
    grabcut_iterations: int = Field(
        5, ge=1, le=100, description="number of iterations of GrabCut", json_schema_extra=WITH_GRABCUT
    )
    walker_beta: float = Field(
        90.0,
        ge=0,
        description="how strongly edges of the image stop the walker; 0 ignores the image",
        json_schema_extra=WITH_WALKER,
    )
