"""Which configs keep the weights of their folds, which of these are lost, and dropping those of all others.

While a race can continue, every config but a failed one may be resumed, so it keeps what that takes. Once the race is
over, ``keep`` says which complete configs keep their weights; a config that a person chose to finish keeps them anyway.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from search.messages import Job
from search.policies.contract import Policy
from search.race.score_table import Cell
from search.runs.journal import Journal, Line
from search.runs.run_folder import Run
from spaces.space import Space
from trainable.errors import StorageFull
from trainable.printing import plural, say


@dataclass
class Decisions:
    """What the journal says about weights: configs that a person chose, and the rule by which others lost theirs."""

    chosen: set[str] = field(default_factory=set)
    dropped: dict[str, str] = field(default_factory=dict)

    def note(self, line: Line) -> None:
        if line.kind == "finish":
            self.chosen.add(line.fields["config"])
        elif line.kind == "dropped":
            self.dropped |= dict.fromkeys(line.fields["configs"], line.fields["keep"])
        elif line.kind == "job":  # it is trained again
            self.dropped.pop(line.fields["config"], None)


def decisions(lines: Iterable[Line]) -> Decisions:
    made = Decisions()
    for line in lines:
        made.note(line)
    return made


class FoldModels:
    """The files of a run's fold trials, of which only its driver may remove any."""

    def __init__(self, run: Run, space: Space, policy: Policy, chosen: Iterable[str] = ()) -> None:
        self.run, self.policy, self.chosen = run, policy, set(chosen)
        self.keep, self.kind = space.settings.keep, space.trainable

    def kept(self) -> list[str]:
        """The complete configs that keep their weights when the race is over."""
        table = self.policy.score_table
        complete = [config for config in table.entrants if table.complete(config)]
        if self.keep != "winners" or not complete:
            return complete
        best = max(complete, key=lambda config: math.fsum(table.scores(config)))
        winners = {best, *self.policy.answer().peers, *self.chosen}
        return [config for config in complete if config in winners]

    def lost(self, configs: Iterable[str] | None = None) -> list[Job]:
        """The fold trials to train again: done ones of these configs, by default of those kept, without their files."""
        table = self.policy.score_table
        cells = [
            (config, fold)
            for config in (self.kept() if configs is None else configs)
            for fold in range(table.folds)
            if table.full(config, fold) is not None
        ]
        found = self._files(cells) if self.kind.results else {}
        lost = [cell for cell in found if not set(self.kind.results) <= found[cell].keys()]
        return [Job(config, fold, table.entrants[config].horizon) for config, fold in lost]

    def drop(self, journal: Journal, over: bool) -> None:
        """Remove the weights of configs that can no longer win: of failed ones, and once the race is over, of all that
        are not kept.

        The journal has the decision before the first file is gone. A removal that was cut short is repeated by the next
        launch, and a file that is wanted later after all is made again.
        """
        table = self.policy.score_table
        if self.keep == "all" or not self.kind.weights or table.outstanding:
            return
        stay = {*self.kept(), *self.chosen} if over else table.entrants.keys() - table.failed.keys() | self.chosen
        cells = [(config, fold) for config in table.entrants if config not in stay for fold in range(table.folds)]
        found = {cell: self._weights(files) for cell, files in self._files(cells).items()}
        found = {cell: files for cell, files in found.items() if files}
        if not found:
            return
        configs = list(dict.fromkeys(config for config, _ in found))
        journal.append("dropped", configs=configs, keep=self.keep)
        self.run.remove_fold_files(found)
        size = sum(sum(files.values()) for files in found.values())
        removed = f"removed {size / 1e6:,.1f} MB of weights of {plural(len(configs), 'config')}"
        say(f"keep: {self.keep}: {removed} that can no longer win; curves, counts and logs stay")

    def _files(self, cells: Iterable[Cell]) -> dict[Cell, dict[str, int]]:
        """What there is of these fold trials. A store that cannot be reached does not delay a run."""
        try:
            return self.run.fold_files(cells)
        except StorageFull as problem:
            say(f"{problem}; the next launch looks for lost models and weights to remove")
            return {}

    def _weights(self, files: Mapping[str, int]) -> dict[str, int]:
        return {name: size for name, size in files.items() if name in self.kind.weights}


def describe_jobs(jobs: Iterable[Job]) -> str:
    """The fold trials of these jobs: 3f1c fold 0, 2."""
    folds: dict[str, list[int]] = {}
    for job in jobs:
        folds.setdefault(job.config, []).append(job.fold)
    return "; ".join(f"{config} fold {', '.join(map(str, each))}" for config, each in folds.items())


def how_to_finish(run: Run, config: str) -> str:
    """What makes the missing models of a config, and why they may be missing."""
    rule = decisions(run.lines()).dropped.get(config)
    why = "" if rule is None else f"; its weights were removed when it could no longer win (keep: {rule})"
    return f"{run.command('finish', '--config', config)} trains what is missing{why}"
