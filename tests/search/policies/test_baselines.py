"""The pruning rules of Optuna in the replay, compared with Optuna itself."""

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.messages import Entrant, Job, Report
from search.policies.median import Median
from search.policies.wilcoxon import Wilcoxon

FOLDS = 5
scores = st.lists(st.integers(50, 60).map(lambda hundredths: hundredths / 100), min_size=FOLDS, max_size=FOLDS)


def pruned_here(policy, complete, folds):
    """Whether the policy prunes a config with these fold scores, after these complete configs."""
    for number, each in enumerate([*complete, folds]):
        policy.add(Entrant(f"c{number}", (1,), {}))
        for fold, score in enumerate(each):
            policy.note(Report(f"c{number}", fold, 1, score, 1.0))
    jobs = set()
    while isinstance(job := policy.next(), Job):
        jobs.add(job.config)
    return f"c{len(complete)}" not in jobs


def pruned_by_optuna(pruner, complete, folds):
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for each in complete:
        values = dict(enumerate(each))
        study.add_trial(optuna.trial.create_trial(value=sum(each) / len(each), intermediate_values=values, params={}))
    trial = study.ask()
    for fold, score in enumerate(folds):
        trial.report(score, fold)
    return trial.should_prune()


@pytest.mark.filterwarnings("ignore:WilcoxonPruner is experimental")
@settings(max_examples=60)
@given(complete=st.lists(scores, min_size=1, max_size=7), current=scores, folds=st.integers(1, FOLDS - 1))
def test_the_wilcoxon_rule_prunes_the_same_configs_as_optuna(complete, current, folds):
    expected = pruned_by_optuna(optuna.pruners.WilcoxonPruner(p_threshold=0.1), complete, current[:folds])
    assert pruned_here(Wilcoxon((), FOLDS), complete, current[:folds]) == expected


@settings(max_examples=60)
@given(complete=st.lists(scores, min_size=1, max_size=9), current=scores, folds=st.integers(1, FOLDS - 1))
def test_the_median_rule_prunes_the_same_configs_as_optuna(complete, current, folds):
    """Optuna compares the values reported at each step, so the mean so far is reported."""

    def means(each):
        return [sum(each[: fold + 1]) / (fold + 1) for fold in range(len(each))]

    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=0)
    expected = pruned_by_optuna(pruner, [means(each) for each in complete], means(current[:folds]))
    assert pruned_here(Median((), FOLDS), complete, current[:folds]) == expected


def test_the_wilcoxon_rule_cannot_act_before_the_fourth_fold():
    best, worst = [0.9] * FOLDS, [0.1] * FOLDS
    assert [pruned_here(Wilcoxon((), FOLDS), [best], worst[:folds]) for folds in (1, 2, 3, 4)] == [
        False,
        False,
        False,
        True,
    ]
