"""A search as a job of a Ray cluster: submitted with its code, followed from here, reconnected after network errors."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientError
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from cluster.connection.connect import HOME, use_token
from trainable.errors import UserError, first_line
from trainable.machine.versions import ROOMS
from trainable.printing import say

PATIENCE = 60.0  # seconds that the cluster may be unreachable while its log is followed
STOPPED = 130


class Submission:
    """The jobs of one search, found by its name; at most one of them is active."""

    def __init__(self, address: str, name: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise UserError(f"--address {address}: must be the URL of the dashboard, as in http://127.0.0.1:8265")
        self.address, self.name = address, name
        self.printed = 0  # characters of the log
        use_token()
        logging.getLogger("ray").setLevel(logging.WARNING)
        with self._user_errors():
            self.client = JobSubmissionClient(address)

    def active_job(self) -> str | None:
        """The id of this search's unfinished job, if there is one."""
        return next((job.submission_id for job in self._jobs() if not job.status.is_terminal()), None)

    def send(self, command: str, folder: Path) -> str:
        """Start a job that runs ``command`` in a copy of ``folder``, with this project's code."""
        count = len(self._jobs())
        code = {"working_dir": str(folder), "py_modules": [str(HOME / room) for room in ROOMS]}
        with self._user_errors():
            identity: str = self.client.submit_job(
                entrypoint=command,
                submission_id=f"{self.name}-{count + 1}",
                runtime_env=code,
                metadata={"search": self.name},
            )
        return identity

    def follow(self, identity: str, clock: Callable[[], float] = time.monotonic) -> int:
        """Print the log of a job until it ends, reconnecting after network errors; the job's exit code."""
        last_contact = clock()
        while True:
            try:
                asyncio.run(self._print_log(identity))
                details = self.client.get_job_info(identity)
                if details.status.is_terminal():
                    return _code(details)
                last_contact = clock()
            except (RuntimeError, OSError, ClientError) as problem:
                if clock() - last_contact > PATIENCE:
                    raise UserError(
                        f"{self.address}: unreachable for {PATIENCE:.0f} s ({problem}); "
                        "the search continues there, and the same command follows it again"
                    ) from None
            time.sleep(1.0)

    async def _print_log(self, identity: str) -> None:
        """Print new log text until the job ends or the connection fails; the log is always sent from its start."""
        seen = 0
        async for text in self.client.tail_job_logs(identity):
            sys.stderr.write(text[max(0, self.printed - seen) :])
            sys.stderr.flush()
            seen += len(text)
            self.printed = max(self.printed, seen)

    def _jobs(self) -> list[JobDetails]:
        with self._user_errors():
            return [job for job in self.client.list_jobs() if (job.metadata or {}).get("search") == self.name]

    @contextmanager
    def _user_errors(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ConnectionError, OSError, AuthenticationError) as problem:
            first = first_line(problem)
            if isinstance(problem, ConnectionError):
                raise UserError(f"--address {self.address}: unreachable ({first}); is Ray running there?") from None
            raise UserError(
                f"--address {self.address}: cannot submit jobs ({first}). Is it the dashboard of a Ray cluster, and is "
                "the cluster's token in RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH?"
            ) from None


def _code(details: Any) -> int:
    if details.driver_exit_code is not None:
        return int(details.driver_exit_code)
    if details.status is JobStatus.STOPPED:
        return STOPPED
    if details.status is JobStatus.FAILED:
        say(f"error: the job failed before its program ended: {details.message}")
        return 1
    return 0
