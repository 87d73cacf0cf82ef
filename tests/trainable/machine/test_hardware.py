"""The GPUs of a machine, as a driver's own program tells them."""

import pytest

from trainable.machine.hardware import accelerators, cores, cpu_name

TWO = "0, GPU-aa, NVIDIA H200\\n1, GPU-bb, NVIDIA A100-SXM4-80GB\\n"


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A machine whose nvidia-smi does what the test says."""

    def install(script):
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return install


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["NVIDIA H200", "NVIDIA A100-SXM4-80GB"]),
        ("1", ["NVIDIA A100-SXM4-80GB"]),
        ("GPU-aa", ["NVIDIA H200"]),
        ("GPU-b", ["NVIDIA A100-SXM4-80GB"]),
        ("", []),
    ],
)
def test_the_gpus_are_those_that_a_program_would_see(driver, monkeypatch, visible, names):
    driver(f"printf '{TWO}'")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert accelerators() == names


def test_a_driver_that_does_not_answer_means_no_gpu(driver):
    driver("echo no devices; exit 9")
    assert accelerators() == []


def test_the_processor_has_a_name_and_a_core():
    assert cpu_name() and cores() >= 1
