"""Mistakes in a source, reported together: one line per file."""

from collections.abc import Sequence

from trainable.data.dataset import BadFile
from trainable.errors import UserError
from trainable.printing import plural

SHOWN = 20


def raise_problems(problems: Sequence[BadFile], advice: str = "") -> None:
    """Raise one error that lists the files; do nothing if there are none."""
    if not problems:
        return
    if len(problems) == 1:
        raise UserError(f"{problems[0]}{advice and f' ({advice})'}")
    lines = [str(problem) for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"and {len(problems) - SHOWN:,} more")
    heading = f"{plural(len(problems), 'problem')} in the source{advice and f' ({advice})'}:"
    raise UserError("\n  ".join([heading, *lines]))


def missing_package(form: str, package: str) -> UserError:
    """The error for a format whose optional package is not installed."""
    return UserError(f"importing {form} needs {package}; install it with: pip install 'scribble-search[medical]'")
