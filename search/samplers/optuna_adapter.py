"""Optuna's samplers, and the study in an Optuna storage that shows a run to optuna-dashboard: all that knows Optuna.

The two are apart because a finished trial cannot be changed in a storage, while a paused config may come back and
estimates move: the sampler is shown the run as it stands, in memory; the storage is written behind the journal.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import URL, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from search.policies.contract import Policy
from search.samplers.config_outcome import ConfigOutcome, estimated_scores, outcome_of
from search.samplers.proposals import proposal_rng, random_point
from spaces.schema.parameters import Parameter, Range
from spaces.schema.samplers import OptunaSampler
from spaces.space import Point, Space
from spaces.yaml_file.problems import Forbidden, written
from trainable.errors import UserError
from trainable.printing import say

DATABASE, DAMAGED = "optuna.db", "optuna.damaged.db"
TRIES = 20  # before chance takes the place of a sampler that proposes only what is known or forbidden
SHARE = 0.1  # of the driver's time that may go into the storage
CONFIG, REASON = "config", "reason"
STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
TROUBLE = (SQLAlchemyError, StorageInternalError, ImportError, ValueError, RuntimeError, OSError)


class OptunaProposals:
    """Proposals of one of Optuna's samplers; each has its own seed, and is asked with all that is known by then."""

    ignores_scores = False

    def __init__(self, space: Space, sampler: OptunaSampler) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.sampler, self.count = space, sampler, sampler.count
        self.notes: dict[str, Mapping[str, Any]] = {}  # what a sampler wrote on its trials; CMA-ES lives by it

    def propose(self, policy: Policy) -> Point | None:
        known = policy.score_table.entrants
        rng = proposal_rng(self.sampler.seed, len(known))
        study = self._as_it_stands(policy, rng)
        for _ in range(TRIES):
            # What is turned down stays behind as a running trial, from which samplers keep away.
            trial = study.ask()
            try:
                point = self.space.choose(lambda parameter: _suggest(trial, parameter))  # noqa: B023
            except Forbidden:
                continue
            if point.id not in known:
                self.notes[point.id] = study.get_trials(deepcopy=False)[trial.number].system_attrs
                return point
        return random_point(self.space, rng, known)

    def _as_it_stands(self, policy: Policy, rng: random.Random) -> optuna.Study:
        sampler = sampler_of(self.sampler.name, rng.randrange(2**32))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        scores = estimated_scores(policy)
        for config in policy.score_table.entrants:
            score = scores.get(config)
            state = TrialState.RUNNING if score is None else TrialState.COMPLETE
            study.add_trial(self.trial(policy, config, state, value=score))
        return study

    def trial(self, policy: Policy, config: str, state: TrialState, **more: Any) -> FrozenTrial:
        values = policy.score_table.entrants[config].parameters
        parameters = {name: self.space.parameters[name] for name in values}
        return create_trial(
            state=state,
            params={name: _plain(values[name]) for name in values},
            distributions={name: _distribution(parameter) for name, parameter in parameters.items()},
            system_attrs=dict(self.notes.get(config, {})),
            **more,
        )


class StoredStudy:
    """A study in a storage, brought to where the journal is: at the start, now and then, and at the end.

    Nothing is decided from it, so trouble with it is told and tried again; it never ends a run that has begun.
    """

    def __init__(self, url: str, name: str, proposals: OptunaProposals, policy: Policy) -> None:
        self.url, self.proposals, self.policy = url, proposals, policy
        self.trials: dict[str, tuple[int, TrialState, int]] = {}  # config: its last trial, how many values it has
        self.rest_until, self.broken = 0.0, False
        self.storage = RDBStorage(url)
        try:
            self.study = self.storage.create_new_study([StudyDirection.MAXIMIZE], name)
        except DuplicatedStudyError:
            self.study = self.storage.get_study_id_from_name(name)
        for trial in self.storage.get_all_trials(self.study, deepcopy=False):
            self._meet(trial, name)

    def note(self) -> None:
        """There may be news. A new config is written at once, for what its sampler wrote on it must not be lost."""
        due, known = time.monotonic() >= self.rest_until, self.policy.score_table.entrants
        self.write([config for config in known if due or (config not in self.trials and not self.broken)])

    def write(self, configs: Iterable[str] | None = None) -> None:
        """Write what is new of these configs (all of them), then rest for a multiple of the time it took."""
        began = time.monotonic()
        try:
            for config in self.policy.score_table.entrants if configs is None else configs:
                trial, state, count = self.trials.get(config, (None, TrialState.WAITING, 0))
                if state not in (TrialState.COMPLETE, TrialState.FAIL):
                    self._bring_up(config, outcome_of(self.policy, config), trial, state, count)
            self.broken = False
        except TROUBLE as error:
            if not self.broken:
                say(f"{_shown(self.url)}: cannot be written ({_first_line(error)}); the run goes on, and tries again")
            self.broken = True
        now = time.monotonic()
        self.rest_until = max(self.rest_until, now + (now - began) * (1 / SHARE - 1))

    def _meet(self, trial: FrozenTrial, name: str) -> None:
        """Find a trial's config again; one that the journal does not know died before it was recorded."""
        config = trial.user_attrs.get(CONFIG)
        if config in self.policy.score_table.entrants:
            self.trials[config] = (trial._trial_id, trial.state, len(trial.intermediate_values))
            self.proposals.notes.setdefault(config, trial.system_attrs)
        elif not self.policy.score_table.entrants:
            raise UserError(f"holds a study {name!r} of another run; choose another name: --set name=...")
        elif not trial.state.is_finished():
            self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def _bring_up(self, config: str, told: ConfigOutcome, trial: int | None, state: TrialState, count: int) -> None:
        end = STATES[told.fate]
        value = told.mean if told.fate == "complete" else next(reversed(told.values.values()), None)
        revived = state is TrialState.PRUNED and told.fate == "complete"
        if trial is None or revived:
            more = {"intermediate_values": told.values, "user_attrs": {CONFIG: config} | _reason(told)}
            if told.fate in ("complete", "pruned"):
                more["value"] = value
            template = self.proposals.trial(self.policy, config, end, **more)
            trial = self.storage.create_new_trial(self.study, template)
        elif state is TrialState.RUNNING:
            for step, score in list(told.values.items())[count:]:
                self.storage.set_trial_intermediate_value(trial, step, score)
            for key, text in _reason(told).items():
                self.storage.set_trial_user_attr(trial, key, text)
            if end is TrialState.FAIL or (end is TrialState.PRUNED and value is None):
                self.storage.set_trial_state_values(trial, end)
            elif end is not TrialState.RUNNING and value is not None:
                self.storage.set_trial_state_values(trial, end, [value])
        else:
            return
        self.trials[config] = (trial, end, len(told.values))


def stored_study(proposals: OptunaProposals, folder: Path, policy: Policy) -> StoredStudy:
    """The study of a run in its storage; one in the run's own folder that cannot be used is made anew."""
    url, name = _address(proposals.sampler.storage), proposals.space.settings.name
    own = folder.absolute() / DATABASE
    try:
        if url is not None:
            return StoredStudy(url, name, proposals, policy)
        url = str(URL.create("sqlite", database=str(own)))
        try:
            return StoredStudy(url, name, proposals, policy)
        except (*TROUBLE, UserError) as error:
            if isinstance(error, OperationalError) or isinstance(error.__cause__, OperationalError):
                raise  # locked, or no place to write: another file would fare no better
            say(f"{folder / DATABASE}: {_first_line(error)}; it is kept as {DAMAGED} and made anew from the journal")
        own.replace(own.with_name(DAMAGED))
        own.with_name(f"{DATABASE}-journal").unlink(missing_ok=True)  # SQLite's own, of the file that was moved
        return StoredStudy(url, name, proposals, policy)
    except TROUBLE as error:
        raise UserError(f"sampler.storage = {_shown(url)}: {_first_line(error)}") from None


def _address(told: str | None) -> str | None:
    """A storage by its address, or by the environment variable that holds it."""
    if told is None or not told.startswith("$"):
        return told
    address = os.environ.get(told[1:].strip("{}"))
    if not address:
        raise UserError(f"sampler.storage = {told}: there is no such environment variable")
    return address


def sampler_of(name: str, seed: int) -> BaseSampler:
    """What a sampler cannot do itself (CMA-ES: choices; both: conditions) TPE does for it."""
    tpe = TPESampler(seed=seed)
    if name == "gp":
        return GPSampler(seed=seed, independent_sampler=tpe, warn_independent_sampling=False)
    if name == "cmaes":
        return CmaEsSampler(seed=seed, independent_sampler=tpe, warn_independent_sampling=False)
    return tpe


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    told = trial._suggest(parameter.name, _distribution(parameter))
    if isinstance(parameter, Range):
        return told
    return next(value for value in parameter.values if _plain(value) == told and type(_plain(value)) is type(told))


def _distribution(parameter: Parameter) -> BaseDistribution:
    if not isinstance(parameter, Range):
        return CategoricalDistribution([_plain(value) for value in parameter.values])
    if parameter.distribution == "int":
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def _plain(value: Any) -> Any:
    """A value as Optuna can store it: lists are written out."""
    return value if value is None or isinstance(value, bool | int | float | str) else written(value)


def _reason(told: ConfigOutcome) -> dict[str, str]:
    return {REASON: told.reason} if told.reason else {}


def _shown(url: str | None) -> str:
    """A storage's address without its password."""
    try:
        return make_url(url or "").render_as_string(hide_password=True)
    except SQLAlchemyError:
        return str(url)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
