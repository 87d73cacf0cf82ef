"""Running a function in a new process, whose modules and memory are released at the end."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

T = TypeVar("T")


def in_fresh_process(work: Callable[..., T], *arguments: Any) -> T:
    """Return or raise what ``work`` does; ``BrokenProcessPool`` if its process was killed."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()
