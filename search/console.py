"""The ``scribble-search`` script: ``scribble-search search launch ...`` is ``python -m search launch ...``."""

import os
import sys
from importlib import import_module
from runpy import run_module

import typer

from trainable.exit_codes import WRONG
from trainable.printing import say

PROGRAMS = {
    "spaces": "check a space file and show every config that it spans",
    "trainable": "check a data set, make a synthetic one, train one fold",
    "search": "plan, launch, watch and replay searches",
    "cluster": "plan and examine a cluster",
    "analysis": "the winner, the report, the ensemble and its masks",
}
NAME, COMPLETES = "scribble-search", "_SCRIBBLE_SEARCH_COMPLETE"
COMPLETION = ("--install-completion", "--show-completion")
LINES = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")  # where a shell puts the line that is to be completed


def main() -> None:
    """Run the program that the first argument names."""
    program = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if program in COMPLETION or COMPLETES in os.environ:
        _completing()(prog_name=NAME)
    if program == "--version":
        program, sys.argv[1:] = "search", ["search", "--version"]
    if program in PROGRAMS:
        sys.argv = [f"scribble-search {program}", *sys.argv[2:]]
        run_module(program, run_name="__main__")
    listed = "\n".join(f"  {name:<11}{purpose}" for name, purpose in PROGRAMS.items())
    usage = (
        f"Usage: scribble-search PROGRAM COMMAND ...\n\n{listed}\n\nExample: scribble-search search launch quickstart"
    )
    if program in ("--help", "-h"):
        print(usage)
        sys.exit(0)
    say(f"error: {program!r} is none of the programs\n{usage}")
    sys.exit(WRONG)


def _completing() -> typer.Typer:
    """All programs as one, which typer can complete; only the one on the line is imported, because that takes time."""
    line = next((os.environ[name] for name in LINES if name in os.environ), "").split()
    programs = typer.Typer(rich_markup_mode=None)
    for name, purpose in PROGRAMS.items():
        known = name in line[1:2]
        program = import_module(f"{name}.__main__").app if known else typer.Typer(callback=lambda: None, help=purpose)
        programs.add_typer(program, name=name, help=purpose)
    return programs
