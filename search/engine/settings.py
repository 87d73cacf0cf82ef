"""The settings of the engine, and what a worker gets with a job."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.messages import Job
from search.runs.run_folder import fold_folder
from trainable.machine.allotment import Allotment


@dataclass(frozen=True)
class EngineSettings:
    """What every job carries to its worker, how failures are handled, and which limits end the run."""

    folder: Path
    job: Mapping[str, Any]
    retries: int = 3
    hang_seconds: float = 600.0
    hang_factor: float = 20.0
    wall: float | None = None
    trials: int | None = None


def worker_job(
    settings: EngineSettings, job: Job, values: Mapping[str, Any], allotment: Allotment, alone: bool, journal: Path
) -> dict[str, Any]:
    """A job as its worker gets it, with the values of its config and the share of a machine that it may use."""
    return {
        **settings.job,
        "cpus": allotment.cpus,
        "gpus": allotment.gpus,
        "kind": allotment.kind,
        "avoid": list(allotment.avoid),
        "threads": max(1, int(allotment.cpus)),
        "memory": allotment.memory,
        "alone": alone,
        "values": dict(values),
        "run": settings.folder.name,
        "config_id": job.config,
        "fold": job.fold,
        "until": job.until,
        "folder": str(fold_folder(settings.folder, job.config, job.fold).absolute()),
        "journal": str(journal.absolute()),
        "hang_seconds": settings.hang_seconds,
        "hang_factor": settings.hang_factor,
    }
