"""What a launch is asked for, and everything that can refuse it before anything is written."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from search.commands.launch_record import check_run, with_recorded_rule
from search.engine.listeners import Notify
from search.planning.files import weights_files
from search.planning.gpu_memory import memory_candidates
from search.planning.plan import Plan, PlanOptions, check_cores
from search.planning.plan_output import document, recorded_plan, show_first, too_long
from search.planning.trial_kinds import kind_of
from search.runs.disk import check_room
from search.runs.growth import Growth
from search.runs.recovery import check_journal
from search.runs.run_folder import Run
from search.runs.status import status_of
from spaces.space import Space
from trainable.data.labelled import SCRIBBLES, Labelled
from trainable.errors import UserError
from trainable.printing import say
from trainable.storage.shared_file import SharedFile


@dataclass(frozen=True)
class LaunchOptions:
    """The options of a launch; ``rebuild`` recreates a damaged journal from the fold folders.

    ``confirm`` is called with a warning before a run that takes long, and raises to not start it.
    """

    root: str
    force_code: bool
    rebuild: bool
    plan: PlanOptions
    address: str | None
    dashboard: bool
    show: Callable[[Run], AbstractContextManager[Notify]]
    confirm: Callable[[str], None] = lambda warning: say(f"warning: {warning}")
    finish: str | None = None  # train what this config lacks instead of searching on


@dataclass(frozen=True)
class Checked:
    """What a launch needs, found before anything is written."""

    space: Space  # with the run's rule for weights
    growth: Growth
    data: Labelled | None
    weights: Mapping[str, SharedFile]
    plan: Plan | None = None

    @property
    def contents(self) -> dict[str, str]:
        """The hashes of the files that encoders start from."""
        return hashes(self.weights)


def check_launch(space: Space, options: LaunchOptions, run: Run) -> Checked:
    """Refuse what cannot be run, before anything is written, and print the plan."""
    kind = kind_of(space)
    if options.address is None:
        check_cores(space.settings.resources)
    for found in kind.check(space, memory_candidates(space)):
        say(f"warning: {found}")
    data = kind.open(space)
    if data is not None and data.scored_on == SCRIBBLES:
        say(f"{data.split.root}: has no masks, so folds are scored on the scribbled pixels of held-out images")
    weights = {} if data is None else weights_files(space)
    if not options.rebuild and not run.journal_may_lag:  # else what the fold folders have reported is added
        check_journal(run)
    growth = check_run(space, run, None if data is None else data.hash, options.force_code, hashes(weights))
    space = with_recorded_rule(space, run)
    if data is not None:
        kind.check_models(space, data, weights)
    here = options.address is None
    plan = show_first(run.folder, space, options.plan, here, grown=growth.configs)
    if not run.job_settings and options.finish is None:  # a run in an object store trains in folders that are emptied
        _check_room(run, plan)
    if plan is not None and here and (warning := too_long(plan)):
        options.confirm(warning)
    return Checked(space, growth, data, weights, plan)


def _check_room(run: Run, plan: Plan | None) -> None:
    try:
        check_room(run.folder, recorded_plan(run.folder) if plan is None else document(plan))
    except UserError:
        if plan is not None or not _over(run):
            raise


def _over(run: Run) -> bool:
    """Whether the run has ended and its policy has no job left, so that at most lost models are trained again."""
    status = status_of(run)
    return bool(status.ended and not status.score_table.outstanding) and status.policy.choose() is None


def hashes(weights: Mapping[str, SharedFile]) -> dict[str, str]:
    return {name: file.hash for name, file in weights.items()}
