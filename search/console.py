"""The ``scribble-search`` script: ``scribble-search search launch ...`` is ``python -m search launch ...``."""

import sys
from runpy import run_module

from trainable.exit_codes import WRONG
from trainable.printing import say

PROGRAMS = {
    "spaces": "check a space file and show every config that it spans",
    "trainable": "check a data set, make a synthetic one, train one fold",
    "search": "plan, launch, watch and replay searches",
    "cluster": "plan and examine a cluster",
    "analysis": "the winner, the report, the ensemble and its masks",
}


def main() -> None:
    """Run the program that the first argument names."""
    program = sys.argv[1] if len(sys.argv) > 1 else "--help"
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
