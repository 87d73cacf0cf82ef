"""Which changes of a space let its run grow, so that everything that was trained stays valid.

A run grows by more configs: a higher ``sampler.count``, more values or a wider range of a parameter, a parameter that
was fixed and is searched now (so also a longer horizon, whose configs form a block of their own), fewer ``forbid``. The
rule behind them: every config of the run is still one of the space, with the same id.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from search.runs.journal import Line
from spaces.schema.parameters import Choice, Parameter, Range
from spaces.schema.samplers import OptunaSampler
from spaces.space import Space
from spaces.yaml_file.problems import written
from trainable.errors import UserError

PARAMETERS = ("parameters.", "forbid")
WHY_NOT = {
    "folds": "another number of folds puts images into other folds, so no trained fold would stay valid",
    "fold_seed": "another seed puts images into other folds, so no trained fold would stay valid",
}


@dataclass(frozen=True)
class Growth:
    """``changes`` are lines for people; ``fills`` the values that earlier configs have of parameters that were fixed;
    ``new_values`` says that a choice has other values than before, ``configs`` that there may be more configs.
    """

    changes: tuple[str, ...] = ()
    fills: Mapping[str, Any] = field(default_factory=dict)
    new_values: bool = False
    configs: bool = False


def growth_of(before: Space, after: Space, changed: Iterable[str], lines: Iterable[Line]) -> Growth:
    """The growth of a run by the changes of its space that ``changed`` lists; raises those that are not allowed."""
    changed = list(changed)
    counts = [line for line in changed if line.startswith("sampler.count:") and _grows(before, after)]
    of_parameters = [line for line in changed if line.startswith(PARAMETERS)]
    refused = [_explained(line) for line in changed if line not in counts and line not in of_parameters]
    if of_parameters and not refused:
        problem = _broken(before, after, lines)
        refused = [] if problem is None else [*of_parameters, problem]
    if refused:
        raise UserError("; ".join(refused))
    return Growth(tuple(changed), _fills(before, after), _new_values(before, after), configs=True)


def _explained(line: str) -> str:
    reason = WHY_NOT.get(line.partition(":")[0])
    return line if reason is None else f"{line} ({reason})"


def _grows(before: Space, after: Space) -> bool:
    old, new = (getattr(space.settings.sampler, "count", None) for space in (before, after))
    return old is not None and (new is None or new > old)


def _broken(before: Space, after: Space, lines: Iterable[Line]) -> str | None:
    """Why the changes of parameters are no growth; None if they are."""
    for name, parameter in after.parameters.items():
        if name in before.parameters:
            if not _same_kind(before.parameters[name], parameter):
                return f"parameters.{name}: only values can be added, or a range widened"
        elif parameter.when:
            return f"parameters.{name}: a parameter that was fixed cannot be searched under a condition"
    sampler = after.settings.sampler
    if _new_values(before, after) and isinstance(sampler, OptunaSampler) and sampler.storage is not None:
        return "a study in sampler.storage cannot take more values of a parameter"
    fills = _fills(before, after)
    for line in lines:
        if line.kind != "config":
            continue
        config, values = line.fields["config"], {**fills, **line.fields["parameters"]}
        try:
            same = after.resolve(values).id == config
        except UserError:
            same = False
        if not same:
            hints = "".join(f"; to search both: parameters.{each}" for each in _both(before, after))
            return f"config {config}, which the run has, is not one of this space{hints}"
    return None


def _both(before: Space, after: Space) -> Iterator[str]:
    """Fixed values that differ, as parameters with both values."""
    for name, new in after.constants.items():
        old = before.constants.get(name, before.trainable.default(name))
        if name not in before.parameters and old != new:
            yield f"{name}={{values: [{written(old)}, {written(new)}]}}"


def _same_kind(before: Parameter, after: Parameter) -> bool:
    if isinstance(before, Range) and isinstance(after, Range):
        return (before.distribution, before.log) == (after.distribution, after.log)
    return isinstance(before, Choice) and isinstance(after, Choice)


def _fills(before: Space, after: Space) -> dict[str, Any]:
    fixed = {name: before.constants.get(name, before.trainable.default(name)) for name in after.parameters}
    return {name: value for name, value in fixed.items() if name not in before.parameters}


def _new_values(before: Space, after: Space) -> bool:
    both = ((before.parameters[name], each) for name, each in after.parameters.items() if name in before.parameters)
    return any(isinstance(old, Choice) and isinstance(new, Choice) and old.values != new.values for old, new in both)
