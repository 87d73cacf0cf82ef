"""Options that several commands of the search share."""

from typing import Annotated

import typer

from trainable.printing import Format

Root = Annotated[str, typer.Option("--runs", help="The folder that holds all runs, or s3://bucket/prefix.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, its name, or its s3:// URL.")]
Output = Annotated[Format, typer.Option("--format", help="Output format.")]
Plain = Annotated[bool, typer.Option("--plain", help="Print one line per event instead of the live view.")]
ForceCode = Annotated[bool, typer.Option("--force-code", help="Resume even if the code has changed.")]
Address = Annotated[
    str | None, typer.Option("--address", envvar="RAY_ADDRESS", help="A Ray cluster to run on: HOST:PORT, or auto.")
]
Dashboard = Annotated[
    bool,
    typer.Option(
        "--dashboard/--no-dashboard",
        envvar="SCRIBBLE_SEARCH_DASHBOARD",
        help="Start Ray's dashboard, which shows what each worker trains.",
    ),
]
RUNS = "runs"
SpaceName = Annotated[str, typer.Argument(metavar="SPACE", help="A space file, or the name of a shipped space.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override any key of the space.")
]
StepSeconds = Annotated[
    float | None, typer.Option("--step-seconds", help="Seconds per step of the space's largest config.")
]
Calibrate = Annotated[
    bool, typer.Option("--calibrate", help="Measure step times on this machine for the plan, and store them.")
]
