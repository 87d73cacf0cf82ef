"""A priority queue of jobs that does not look at every config each time."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from search.messages import Job

E = TypeVar("E", bound=tuple[float, ...])


class JobQueue(Generic[E]):
    """Entries in ascending order. ``job_of`` returns the job of an entry; entries without one (None) are discarded.

    An entry that may have a job again must therefore be put in again; doing so too often is harmless.
    """

    def __init__(self, job_of: Callable[[E], Job | None], entries: Iterable[E] = ()) -> None:
        self.job_of = job_of
        self._heap = list(entries)
        heapq.heapify(self._heap)

    def put(self, entry: E) -> None:
        heapq.heappush(self._heap, entry)

    def first(self) -> Job | None:
        """The first job; its entry stays in the queue until ``job_of`` returns None for it."""
        while self._heap:
            if (job := self.job_of(self._heap[0])) is not None:
                return job
            heapq.heappop(self._heap)
        return None

    def all(self) -> Iterator[Job]:
        """Every job, in order."""
        return (job for entry in sorted(set(self._heap)) if (job := self.job_of(entry)) is not None)
