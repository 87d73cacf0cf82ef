"""What a launch is asked for, and everything that can refuse it before anything is written."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from search.engine.listeners import Notify
from search.planning.files import weights_files
from search.planning.gpu_memory import memory_candidates
from search.planning.plan import Plan, PlanOptions, check_cores
from search.planning.plan_output import show_first, too_long
from search.planning.trial_kinds import kind_of
from search.runs.run_folder import Run, check_run
from spaces.space import Space
from trainable.data.labelled import SCRIBBLES, Labelled
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


@dataclass(frozen=True)
class Checked:
    """What a launch needs, found before anything is written."""

    data: Labelled | None
    weights: Mapping[str, SharedFile]
    plan: Plan | None = None

    @property
    def data_hash(self) -> str | None:
        return None if self.data is None else self.data.hash

    @property
    def contents(self) -> dict[str, str]:
        """The hashes of the files that encoders start from."""
        return {name: file.hash for name, file in self.weights.items()}


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
    checked = Checked(data, {} if data is None else weights_files(space))
    check_run(space, run, checked.data_hash, options.force_code, checked.contents)
    if data is not None:
        kind.check_models(space, data, checked.weights)
    plan = show_first(run.folder, space, options.plan, here=options.address is None)
    if plan is not None and options.address is None and (warning := too_long(plan)):
        options.confirm(warning)
    return replace(checked, plan=plan)
