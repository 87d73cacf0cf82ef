"""Running functions in new processes, whose modules and memory are released at the end."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def fresh_processes(count: int) -> ProcessPoolExecutor:
    """A pool of new processes, which end with this process even if it is killed."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _end_with_parent)


def in_fresh_process(work: Callable[..., T], *arguments: Any) -> T:
    """Return or raise what ``work`` does; ``BrokenProcessPool`` if its process was killed."""
    with fresh_processes(1) as pool:
        return pool.submit(work, *arguments).result()


def in_this_process(work: Callable[..., T], *arguments: Any) -> T:
    """Where what ``work`` needs is loaded already."""
    return work(*arguments)


def _end_with_parent() -> None:
    """A worker waits for work on a pipe that it holds open itself, so it would outlive a parent that was killed."""
    threading.Thread(target=_wait_for_parent, name="end with parent", daemon=True).start()


def _wait_for_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
