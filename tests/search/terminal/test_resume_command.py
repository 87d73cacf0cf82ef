"""The command that resumes a run."""

import pytest

from search.terminal.plain_view import print_resume_command

LAUNCH = ["launch", "demo.yaml", "--set", "folds=3"]


def test_a_journal_that_was_rebuilt_is_not_rebuilt_again(capsys):
    print_resume_command([*LAUNCH, "--recover", "--yes"])
    assert capsys.readouterr().err.splitlines()[-1].split() == ["python", "-m", "search", *LAUNCH, "--yes"]


@pytest.mark.parametrize(
    ("arguments", "resumed"),
    [
        (LAUNCH, [*LAUNCH, "--set", "budget.trials=6"]),
        ([*LAUNCH, "--set", "budget.trials=3"], [*LAUNCH, "--set", "budget.trials=6"]),
        ([*LAUNCH[:2], "--set=budget.trials=3", *LAUNCH[2:]], [*LAUNCH, "--set", "budget.trials=6"]),
        ([*LAUNCH, "--set", "name=a"], [*LAUNCH, "--set", "name=a", "--set", "budget.trials=6"]),
    ],
)
def test_a_larger_budget_replaces_the_one_that_was_set(arguments, resumed, capsys):
    print_resume_command(arguments, "budget.trials=6")
    assert capsys.readouterr().err.splitlines()[-1].split() == ["python", "-m", "search", *resumed]
