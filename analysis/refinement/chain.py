"""A chain of steps: applying it to the probabilities of an image, and writing and reading it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.refinement.steps.registry import ORDER, STEPS
from analysis.refinement.steps.step import Decision, Maps, MapStep, MaskStep, Scene, Step
from analysis.refinement.steps.thresholds import Threshold
from trainable.data.dataset import Pixels
from trainable.errors import UserError, did_you_mean

Chain = tuple[Step, ...]  # at most one step of each kind, in the order of the registry


def refined(probability: npt.NDArray[np.float32], scene: Scene, chain: Chain, tau: float) -> Pixels:
    """The mask of one image; ``probability`` is (H, W) of two classes, else (K, H, W)."""
    return mask_of(maps_after(maps_of(probability), scene, chain), scene, chain, tau)


def maps_of(probability: npt.NDArray[np.floating[Any]]) -> Maps:
    """The probabilities of all classes."""
    found = probability.astype(np.float32)
    return np.stack([1 - found, found]) if found.ndim == 2 else found


def maps_after(maps: Maps, scene: Scene, chain: Chain) -> Maps:
    """The probabilities after those steps of a chain that change them."""
    for step in map_steps(chain):
        maps = step.apply(maps, scene)
    return maps


def mask_of(maps: Maps, scene: Scene, chain: Chain, tau: float) -> Pixels:
    """The mask that the other steps of a chain make of the probabilities; ``tau`` holds if none of them decides."""
    decisions = [step for step in chain if isinstance(step, Decision)]
    if decisions:
        mask = decisions[0].decide(maps)
    else:
        mask = Threshold(tau).decide(maps) if len(maps) == 2 else maps.argmax(axis=0).astype(np.uint8)
    for step in chain:
        if isinstance(step, MaskStep):
            mask = step.apply(mask, scene, len(maps))
    return mask


def map_steps(chain: Chain) -> tuple[MapStep, ...]:
    return tuple(step for step in chain if isinstance(step, MapStep))


def with_step(chain: Chain, step: Step) -> Chain:
    """The chain with this step in its place, instead of another one of its kind."""
    steps = {each.name: each for each in chain} | {step.name: step}
    return tuple(steps[kind.name] for kind in ORDER if kind.name in steps)


def as_rows(chain: Chain) -> list[dict[str, Any]]:
    """The chain for JSON."""
    return [{"step": step.name, **values_of(step)} for step in chain]


def values_of(step: Step) -> dict[str, Any]:
    """The hyperparameters of a step."""
    values = asdict(step)  # type: ignore[call-overload]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def words(chain: Chain) -> str:
    """The chain for people."""
    return ", then ".join(step_words(step) for step in chain) or "nothing"


def step_words(step: Step) -> str:
    values = " ".join(
        f"{name} {'/'.join(f'{each:g}' for each in value) if isinstance(value, list) else f'{value:g}'}"
        for name, value in values_of(step).items()
    )
    return f"{step.name} ({values})" if values else step.name


def read_chain(rows: Sequence[Any], where: str) -> Chain:
    """The chain that ``as_rows`` wrote; ``where`` is named in errors."""
    chain: Chain = ()
    for row in rows:
        name = row.get("step") if isinstance(row, dict) else None
        if name not in STEPS:
            hint = did_you_mean(str(name), STEPS) or f" Known: {', '.join(STEPS)}."
            raise UserError(f"{where}: unknown step {name!r}.{hint}")
        kind: Any = STEPS[name]
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items() if key != "step"}
        needed = [field.name for field in fields(kind)]
        if set(given) != set(needed):
            raise UserError(
                f"{where}: step {name} has {', '.join(given) or 'no values'}, needs {', '.join(needed) or 'none'}"
            )
        for key, value in given.items():
            if not all(isinstance(each, int | float) for each in (value if isinstance(value, tuple) else (value,))):
                raise UserError(f"{where}: step {name}, {key} = {value!r}: must be a number")
        chain = with_step(chain, kind(**given))
    return chain
