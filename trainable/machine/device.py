"""The device a fold runs on: selection by name, settings for training, and detection of out-of-memory errors."""

import ctypes
import gc

import torch

from trainable.errors import UserError, first_line

OUT_OF_MEMORY = (
    "can't allocate memory",
    "bad_alloc",
    "could not create a primitive",
    "out of memory",
    "ALLOC_FAILED",  # of cuBLAS and cuDNN
    "unable to find an engine",  # cuDNN reports this when none of its algorithms gets enough memory
)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


def pick_device(name: str) -> torch.device:
    """The device of this name; ``auto`` is the GPU if there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        if is_out_of_memory(error):
            raise  # the GPU exists, but other processes have filled its memory
        raise UserError(
            f"device = {name!r}: cannot be used here ({first_line(error)}); allowed are auto, cpu, cuda, cuda:N"
        ) from None
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # shapes never change within a fold
        torch.set_float32_matmul_precision("high")
    if device.type == "cpu":
        _keep_freed_memory()
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """Torch's CUDA allocator has a type for it; CUDA's libraries, and torch and oneDNN on a CPU, only a message."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def limit_memory(share: float) -> None:
    """Limit this process to a share of its GPU's memory, which Ray assigns but does not enforce."""
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)


def release_memory() -> None:
    """Free what a finished job held, including what only its exception still references."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def _keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next step.

    By default every large block is returned to the system, and page faults of the next step's activations take as long
    as its arithmetic. Systems without glibc have no such call and are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, -1)
