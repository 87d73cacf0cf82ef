"""The device a fold runs on: chosen by name, set up for training, and how it says that its memory is used up."""

from __future__ import annotations

import ctypes
import gc

import torch

from trainable.errors import UserError

OUT_OF_MEMORY = (
    "can't allocate memory",
    "bad_alloc",
    "could not create a primitive",
    "out of memory",
    "ALLOC_FAILED",  # of cuBLAS and cuDNN
    "unable to find an engine",  # cuDNN tries its algorithms, and takes one that finds no memory for none at all
)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


def pick_device(name: str) -> torch.device:
    """The device by its name; ``auto`` is the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        if is_out_of_memory(error):
            raise  # it is there, and others have filled it
        first = str(error).splitlines()[0]
        raise UserError(
            f"device = {name!r}: cannot be used here ({first}); allowed are auto, cpu, cuda, cuda:N"
        ) from None
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # shapes never change within a fold
        torch.set_float32_matmul_precision("high")
    if device.type == "cpu":
        _keep_freed_memory()
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """Torch's own allocator says so by type; CUDA's libraries, and on a CPU torch and oneDNN, say so in words only."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def limit_memory(share: float) -> None:
    """Hold this process to a share of its GPU's memory: Ray deals shares out and holds nobody to them."""
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)


def release_memory() -> None:
    """Give back what a finished job held, also what only its error still holds, to the other processes on the GPU."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def _keep_freed_memory() -> None:
    """Tell the C library to keep what a step frees for the next one.

    By default it gives every large block back to the system, and getting a step's activations again, page by page,
    costs as much time as the step's arithmetic. Other systems than glibc's have no such call and go on without.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, -1)
