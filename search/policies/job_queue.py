"""Who is to be handed out next, without looking at everybody each time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from search.messages import Job

E = TypeVar("E", bound=tuple[float, ...])


class JobQueue(Generic[E]):
    """Entries in their order. ``job_of`` says what one would be given now, or None: then it is thrown away.

    So whoever may be given something again must be put in again; once too often does no harm.
    """

    def __init__(self, job_of: Callable[[E], Job | None], entries: Iterable[E] = ()) -> None:
        self.job_of = job_of
        self._heap = list(entries)
        heapq.heapify(self._heap)

    def put(self, entry: E) -> None:
        heapq.heappush(self._heap, entry)

    def first(self) -> Job | None:
        """The first job that there is; it stays in the queue until it is handed out."""
        while self._heap:
            if (job := self.job_of(self._heap[0])) is not None:
                return job
            heapq.heappop(self._heap)
        return None

    def all(self) -> Iterator[Job]:
        """Every job that there is, in their order."""
        return (job for entry in sorted(set(self._heap)) if (job := self.job_of(entry)) is not None)
