"""``python -m search doctor-report``: what a bug report needs of a run, in one file and without secrets."""

import json
import os
import platform
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from search.commands.options import RUNS, Root, RunName
from search.runs.run_folder import Run
from spaces.yaml_file.problems import PASSWORD
from trainable.errors import UserError
from trainable.printing import plural, say
from trainable.storage.atomic_files import write_atomically

FOLDS = "configs/*/fold_*"
FILES = ("space.yaml", "env.json", "plan.json", "journal.jsonl", "configs/*/config.json")
FOLD_FILES = (f"{FOLDS}/log.txt", f"{FOLDS}/error.txt", f"{FOLDS}/error.json", f"{FOLDS}/hang.txt")
MOST = 2_000_000  # bytes of a file, of which the end is kept
SHOWN = re.compile(r"RAY_|CUDA_|NVIDIA_|SCRIBBLE_|AWS_|G?OMP_|PYTHON|SLURM_")  # environment names that are listed
SECRET_NAME = re.compile(r"token|secret|passw|credential|key|auth", re.IGNORECASE)
HIDDEN = "***"
PATTERNS = (
    (PASSWORD, rf"\1:{HIDDEN}@"),
    (re.compile(r"(https?://[^\s\"'?]+\?)[^\s\"']+"), rf"\1{HIDDEN}"),  # queries hold signatures and tokens
    (re.compile(r"\bAKIA[0-9A-Z]{16}\b"), HIDDEN),
    (re.compile(r"(\bbearer\s+)[\w.~+/=-]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r'("on_end"\s*:\s*")(?!\$)[^"\n]*(?=")'), rf"\1{HIDDEN}"),  # the address of a webhook is a secret
    (
        re.compile(r"((?:token|secret|password|api_?key|access_?key(?:_id)?)[\"']?\s*[:=]\s*[\"']?)[^\s\"',}&]+", re.I),
        rf"\1{HIDDEN}",
    ),
)


def doctor_report(
    run: RunName,
    root: Root = RUNS,
    out: Annotated[Path | None, typer.Option(help="The zip file (default: doctor-report-RUN.zip here).")] = None,
) -> None:
    """Write a zip file for a bug report.

    It contains the run's space, journal and logs, the versions and the hardware. Images, masks and weights are left
    out; passwords, tokens and the home folder are hidden.

    Example: python -m search doctor-report quickstart
    """
    from search.run_storage.find_runs import find_run

    found = find_run(run, root)
    path = out or Path(f"doctor-report-{found.name}.zip")
    count = write_report(found, path)
    say(
        f"{path}: {plural(count, 'file')} without images, masks, weights and secrets; look through it before sharing it"
    )
    print(path)


def write_report(run: Run, path: Path) -> int:
    """Write the zip file and return the number of its files."""
    run.fetch(*FOLD_FILES)
    hide = scrubber(os.environ)
    contents = {"report.json": json.dumps(facts(run), indent=2)} | dict(_texts(run.folder))

    def write(file: Any) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in contents.items():
                archive.writestr(name, hide(text))

    write_atomically(path, write)
    return len(contents)


def facts(run: Run) -> dict[str, Any]:
    """The state of the run, and the machine and program that report it. A damaged run is reported as such."""
    from search.runs.status import status_of
    from search.terminal.listing import document
    from trainable.machine.hardware import accelerators, cores, cpu_name
    from trainable.machine.versions import code_hashes, versions

    try:
        status: Any = document(status_of(run))
    except (UserError, OSError, ValueError, KeyError, TypeError) as error:
        status = {"cannot be read": f"{type(error).__name__}: {error}"}
    return {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "program": version("scribble-search"),
        "run": run.address,
        "status": status,
        "versions": versions(),
        "code": code_hashes(),
        "system": platform.platform(),
        "processor": cpu_name(),
        "cores": cores(),
        "gpus": accelerators(),
        "environment": sorted(name for name in os.environ if SHOWN.match(name)),  # names alone
    }


def scrubber(environment: Mapping[str, str]) -> Callable[[str], str]:
    """A function that hides secrets in a text: those of the environment, and what looks like one."""
    secrets = [value for name, value in environment.items() if SECRET_NAME.search(name) and len(value) >= 8]
    home = environment.get("HOME", "")

    def hide(text: str) -> str:
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        for pattern, replacement in PATTERNS:
            text = pattern.sub(replacement, text)
        return text.replace(home, "~") if len(home) > 1 else text

    return hide


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    """The ends of the run's text files, by their place in its folder."""
    for pattern in (*FILES, *FOLD_FILES):
        for path in sorted(folder.glob(pattern)):
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - MOST))
                yield path.relative_to(folder).as_posix(), file.read().decode(errors="replace")
