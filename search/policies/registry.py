"""The policies by the names that space files and commands use."""

from collections.abc import Callable

from search.policies.asha import Asha
from search.policies.contract import Policy
from search.policies.foldrace import FoldRace
from search.policies.grid import Grid
from search.policies.halving import Halving
from search.policies.median import Median
from search.policies.random_search import RandomSearch
from search.policies.ray_asha import RayAsha
from search.policies.wilcoxon import Wilcoxon
from spaces.space import Space
from trainable.errors import UserError, did_you_mean

SCHEDULERS: dict[str, Callable[..., Policy]] = {"grid": Grid, "asha": Asha, "halving": Halving, "foldrace": FoldRace}
BASELINES: dict[str, Callable[..., Policy]] = {
    "ray-asha": RayAsha,
    "median": Median,
    "wilcoxon": Wilcoxon,
    "random": RandomSearch,
}


def scheduler(name: str, **settings: object) -> Callable[..., Policy]:
    """A factory of this policy with its own settings, such as ``keep`` and ``delta``."""
    known = SCHEDULERS | BASELINES
    if name not in known:
        raise UserError(f"scheduler {name!r} is unknown.{did_you_mean(name, known)} Known: {', '.join(known)}.")
    make = known[name]
    return lambda entrants, folds, **more: make(entrants, folds, **settings, **more)


def policy_of(space: Space) -> Policy:
    """The policy of a space, without configs."""
    settings = space.settings.scheduler.model_dump(exclude_none=True)
    hours = space.settings.budget.gpu_hours
    build = scheduler(settings.pop("name"), **settings)
    policy = build([], space.settings.folds, budget=None if hours is None else hours * 3600)
    policy.score_table.minimize = space.settings.metric.goal == "minimize"
    policy.score_table.usual = {name: space.trainable.default(name) for name in space.parameters}
    return policy
