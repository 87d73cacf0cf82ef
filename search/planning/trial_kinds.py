"""What launching and planning do differently for each kind of fold trials."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.planning.fold_trials import check_networks_of, fetch_weights, open_fold_data
from search.planning.gpu_memory import measure_footprint
from search.planning.image_trials import (
    check_image_models,
    check_image_space,
    estimate_images,
    fetch_image_weights,
    image_footprint,
    open_image_data,
)
from search.planning.label_check import check_space_labels
from search.planning.step_seconds import StepEstimates, estimate_steps
from spaces.space import Point, Space
from trainable.data.labelled import Labelled
from trainable.data.shipment import Shipment
from trainable.machine.memory_footprint import Footprint
from trainable.storage.shared_file import SharedFile


def _nothing(*arguments: Any) -> None:
    """There is nothing to do."""


@dataclass(frozen=True)
class TrialKind:
    """How a kind of fold trials is checked, prepared and estimated before it starts."""

    estimate: Callable[[Space, Sequence[Point], float | None, int], StepEstimates]
    open: Callable[[Space], Labelled | None] = _nothing
    # Raises one error for all mistakes in the data's labels, and returns warnings.
    check: Callable[[Space, Iterable[Any]], list[str]] = lambda space, configs: []
    check_models: Callable[[Space, Labelled, Mapping[str, SharedFile]], None] = _nothing
    fetch: Callable[[Space], None] = _nothing
    footprint: Callable[[Space, Shipment], Footprint] = measure_footprint


KINDS = {
    "fold": TrialKind(
        estimate_steps, open_fold_data, check_space_labels, check_networks_of, fetch_weights, measure_footprint
    ),
    "scripted": TrialKind(estimate_steps),
    "image": TrialKind(
        estimate_images, open_image_data, check_image_space, check_image_models, fetch_image_weights, image_footprint
    ),
}


def kind_of(space: Space) -> TrialKind:
    return KINDS[space.settings.trainable]
