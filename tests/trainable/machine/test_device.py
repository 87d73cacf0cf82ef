"""What a device says when its memory is used up, in whichever words."""

import pytest
import torch
from conftest import small_config

from trainable.errors import FoldFailed, UserError
from trainable.machine import device
from trainable.machine.device import is_out_of_memory, pick_device
from trainable.training.fold import train_fold


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("FIND was unable to find an engine to execute this computation"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_memory_that_is_used_up_is_recognised(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        ValueError("out of memory"),
    ],
)
def test_what_goes_wrong_for_another_reason_is_not_taken_for_it(error):
    assert not is_out_of_memory(error)


def test_a_device_that_is_full_is_not_taken_for_one_that_is_not_there(small_data, small_folds, tmp_path, monkeypatch):
    def full(*shape, device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(device.torch, "empty", full)
    with pytest.raises(torch.OutOfMemoryError):
        pick_device("cpu")
    with pytest.raises(FoldFailed, match="out of memory on cpu after step 0") as told:
        list(train_fold(small_config(), small_data, small_folds, 0, tmp_path / "out", device="cpu"))
    assert told.value.reason == "out_of_memory"


def test_a_missing_device_is_reported(monkeypatch):
    with pytest.raises(UserError, match="cannot be used here"):
        pick_device("cuda:77")
