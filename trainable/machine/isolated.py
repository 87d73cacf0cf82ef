"""Work done in a process of its own: what it loads and takes is gone when it is done."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

T = TypeVar("T")


def in_fresh_process(work: Callable[..., T], *arguments: Any) -> T:
    """What ``work`` returns or raises; ``BrokenProcessPool`` where its process was killed."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()
