"""Optuna's samplers, and a study in an Optuna storage for optuna-dashboard.

The two are separate because a finished trial in a storage cannot change, while a paused config may resume and estimates
change: samplers get an in-memory study of the current state, and the storage is updated from the journal.
"""

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
from sqlalchemy.pool import NullPool

from search.policies.contract import Policy
from search.runs.run_folder import DATABASE
from search.samplers.config_outcome import ConfigOutcome, estimated_scores, outcome_of
from search.samplers.proposals import proposal_rng, random_point
from spaces.schema.parameters import Parameter, Range
from spaces.schema.samplers import OptunaSampler
from spaces.space import Point, Space
from spaces.yaml_file.problems import Forbidden, written
from trainable.errors import UserError, first_line
from trainable.printing import say

DAMAGED = "optuna.damaged.db"
ATTEMPTS = 20  # rejected proposals (known or forbidden) after which a config is sampled at random
DRIVER_SHARE = 0.1  # of the driver's time that may be spent on the storage
CONFIG, REASON = "config", "reason"
STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
# A KeyError if the study was deleted, for which the dashboard has a button.
STORAGE_ERRORS = (SQLAlchemyError, StorageInternalError, ImportError, KeyError, ValueError, RuntimeError, OSError)


class OptunaProposals:
    """Proposals of an Optuna sampler; each uses its own seed and all scores that are known by then."""

    ignores_scores = False

    def __init__(self, space: Space, sampler: OptunaSampler) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.sampler, self.count = space, sampler, sampler.count
        self.sampler_attrs: dict[str, Mapping[str, Any]] = {}  # by config; CMA-ES keeps its state here

    def propose(self, policy: Policy) -> Point | None:
        known = policy.score_table.entrants
        rng = proposal_rng(self.sampler.seed, len(known))
        study = self._study_of(policy, rng)
        for _ in range(ATTEMPTS):
            # A rejected proposal stays in the study as a running trial, which samplers avoid.
            trial = study.ask()
            try:
                point = self.space.choose(lambda parameter: _suggest(trial, parameter))  # noqa: B023
            except Forbidden:
                continue
            if point.id not in known:
                self.sampler_attrs[point.id] = study.get_trials(deepcopy=False)[trial.number].system_attrs
                return point
        return random_point(self.space, rng, known)

    def _study_of(self, policy: Policy, rng: random.Random) -> optuna.Study:
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
            params={name: _storable(values[name]) for name in values},
            distributions={name: _distribution(parameter) for name, parameter in parameters.items()},
            system_attrs=dict(self.sampler_attrs.get(config, {})),
            **more,
        )


class StoredStudy:
    """A study in a storage, updated from the policy at the start, from time to time, and at the end.

    No decision depends on it, so errors of the storage are printed and retried. They never end a run that has started.
    """

    def __init__(self, url: str, name: str, proposals: OptunaProposals, policy: Policy) -> None:
        self.url, self.proposals, self.policy = url, proposals, policy
        self.trials: dict[str, tuple[int, TrialState, int]] = {}  # config: latest trial id, state, number of values
        self.paused_until, self.failing = 0.0, False
        # Opening a file costs nothing, and nothing would close the connections of a pool.
        pool = {"poolclass": NullPool} if make_url(url).get_backend_name() == "sqlite" else {}
        self.storage = RDBStorage(url, engine_kwargs=pool)
        try:
            goal = StudyDirection.MINIMIZE if policy.score_table.minimize else StudyDirection.MAXIMIZE
            self.study = self.storage.create_new_study([goal], name)
        except DuplicatedStudyError:
            self.study = self.storage.get_study_id_from_name(name)
        for trial in self.storage.get_all_trials(self.study, deepcopy=False):
            self._match_trial(trial, name)

    def note(self) -> None:
        """Write new results if it is time to. New configs are written at once, to save the sampler's attributes."""
        due, known = time.monotonic() >= self.paused_until, self.policy.score_table.entrants
        self.write([config for config in known if due or (config not in self.trials and not self.failing)])

    def write(self, configs: Iterable[str] | None = None) -> None:
        """Write new results of these configs (default: all), then pause for a multiple of the time it took."""
        began = time.monotonic()
        try:
            for config in self.policy.score_table.entrants if configs is None else configs:
                trial, state, count = self.trials.get(config, (None, TrialState.WAITING, 0))
                if state not in (TrialState.COMPLETE, TrialState.FAIL):
                    self._update_trial(config, outcome_of(self.policy, config), trial, state, count)
            self.failing = False
        except STORAGE_ERRORS as error:
            if not self.failing:
                problem = f"{_without_password(self.url)}: cannot be written ({first_line(error)})"
                say(f"{problem}; the run continues and retries")
            self.failing = True
        now = time.monotonic()
        self.paused_until = max(self.paused_until, now + (now - began) * (1 / DRIVER_SHARE - 1))

    def _match_trial(self, trial: FrozenTrial, name: str) -> None:
        """Match a trial of an earlier driver to its config; if the journal lacks the config, the trial fails."""
        config = trial.user_attrs.get(CONFIG)
        if config in self.policy.score_table.entrants:
            self.trials[config] = (trial._trial_id, trial.state, len(trial.intermediate_values))
            self.proposals.sampler_attrs.setdefault(config, trial.system_attrs)
        elif not self.policy.score_table.entrants:
            raise UserError(f"contains a study {name!r} of another run; choose another name: --set name=...")
        elif not trial.state.is_finished():
            self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def _update_trial(
        self, config: str, outcome: ConfigOutcome, trial: int | None, state: TrialState, count: int
    ) -> None:
        end = STATES[outcome.state]
        value = outcome.mean if outcome.state == "complete" else next(reversed(outcome.values.values()), None)
        resumed = state is TrialState.PRUNED and (outcome.state == "complete" or len(outcome.values) > count)
        if trial is None or resumed:
            more = {"intermediate_values": outcome.values, "user_attrs": {CONFIG: config} | _reason(outcome)}
            if outcome.state in ("complete", "pruned"):
                more["value"] = value
            template = self.proposals.trial(self.policy, config, end, **more)
            trial = self.storage.create_new_trial(self.study, template)
        elif state is TrialState.RUNNING:
            for step, score in list(outcome.values.items())[count:]:
                self.storage.set_trial_intermediate_value(trial, step, score)
            for key, text in _reason(outcome).items():
                self.storage.set_trial_user_attr(trial, key, text)
            if end is TrialState.FAIL or (end is TrialState.PRUNED and value is None):
                self.storage.set_trial_state_values(trial, end)
            elif end is not TrialState.RUNNING and value is not None:
                self.storage.set_trial_state_values(trial, end, [value])
        else:
            return
        self.trials[config] = (trial, end, len(outcome.values))


def stored_study(proposals: OptunaProposals, folder: Path, policy: Policy) -> StoredStudy:
    """The study of a run in its storage. A damaged database in the run folder is replaced by a new one."""
    url, name = _resolve_url(proposals.sampler.storage), proposals.space.settings.name
    own = folder.absolute() / DATABASE
    try:
        if url is not None:
            return StoredStudy(url, name, proposals, policy)
        url = str(URL.create("sqlite", database=str(own)))
        try:
            return StoredStudy(url, name, proposals, policy)
        except (*STORAGE_ERRORS, UserError) as error:
            if isinstance(error, OperationalError) or isinstance(error.__cause__, OperationalError):
                raise  # locked or not writable, which a new file would not fix
            say(f"{folder / DATABASE}: {first_line(error)}; it is kept as {DAMAGED} and rebuilt from the journal")
        own.replace(own.with_name(DAMAGED))
        own.with_name(f"{DATABASE}-journal").unlink(missing_ok=True)  # SQLite's rollback journal of the moved file
        return StoredStudy(url, name, proposals, policy)
    except STORAGE_ERRORS as error:
        raise UserError(f"sampler.storage = {_without_password(url)}: {first_line(error)}") from None


def _resolve_url(url: str | None) -> str | None:
    """The URL of a storage, which may be given as the name of an environment variable."""
    if url is None or not url.startswith("$"):
        return url
    value = os.environ.get(url[1:].strip("{}"))
    if not value:
        raise UserError(f"sampler.storage = {url}: this environment variable is not set")
    return value


def sampler_of(name: str, seed: int) -> BaseSampler:
    """The Optuna sampler. TPE samples what another cannot (CMA-ES: choices; CMA-ES and GP: conditional parameters)."""
    tpe = TPESampler(seed=seed)
    if name == "gp":
        return GPSampler(seed=seed, independent_sampler=tpe, warn_independent_sampling=False)
    if name == "cmaes":
        return CmaEsSampler(seed=seed, independent_sampler=tpe, warn_independent_sampling=False)
    return tpe


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    suggested = trial._suggest(parameter.name, _distribution(parameter))
    if isinstance(parameter, Range):
        return suggested
    values = ((value, _storable(value)) for value in parameter.values)
    return next(value for value, stored in values if stored == suggested and type(stored) is type(suggested))


def _distribution(parameter: Parameter) -> BaseDistribution:
    if not isinstance(parameter, Range):
        return CategoricalDistribution([_storable(value) for value in parameter.values])
    if parameter.distribution == "int":
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def _storable(value: Any) -> Any:
    """A value that Optuna can store: lists become strings."""
    return value if value is None or isinstance(value, bool | int | float | str) else written(value)


def _reason(outcome: ConfigOutcome) -> dict[str, str]:
    return {REASON: outcome.reason} if outcome.reason else {}


def _without_password(url: str | None) -> str:
    try:
        return make_url(url or "").render_as_string(hide_password=True)
    except SQLAlchemyError:
        return str(url)
