"""Faster ways to take the same training step: the network compiled, or the whole step replayed as one CUDA graph."""

import os
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from trainable.config import Config
from trainable.data.decoded_images import Data
from trainable.errors import UserError, first_line
from trainable.machine.device import is_out_of_memory
from trainable.networks.ema import Ema
from trainable.recipes.recipe import Recipe

CACHE_DIR = "TORCHINDUCTOR_CACHE_DIR"
COMPILED = "compiled"  # folder of compiled code, beside the decoded images
WARMUP = 3  # updates before a capture: they allocate every buffer and let cuDNN choose its algorithms

Step = Callable[[Tensor, Tensor], Tensor]


class Trainee(Protocol):
    """What takes steps: a fold trial."""

    config: Config
    data: Data
    device: torch.device
    ema: Ema

    @property
    def recipe(self) -> Recipe: ...

    @property
    def optimizer(self) -> torch.optim.Optimizer: ...

    def update(self, images: Tensor, labels: Tensor) -> Tensor: ...


def step_function(trial: Trainee) -> Step:
    """The function that takes a trial's steps from its current state on. It returns the loss without waiting for it.

    ``auto`` is none: no way has been measured on a GPU yet (``benchmarks/gpu.py`` does so), and on a CPU, compiling
    made a step slower: 230 instead of 180 ms (ResNet-18, 160x128, batch 8, bf16, two threads).
    """
    if trial.config.acceleration == "compile":
        return _compiled(trial)
    return GraphStep(trial) if trial.config.acceleration == "graph" else trial.update


def _compiled(trial: Trainee) -> Step:
    """The usual step with a compiled network, whose dropout draws the same numbers as the network itself."""
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    # Torch sets the variable to its default, below /tmp, while it is loaded; a user's own value is kept.
    if os.environ.get(CACHE_DIR, default_cache_dir()) == default_cache_dir():
        os.environ[CACHE_DIR] = str(trial.data.entry.parent / COMPILED)
    for module in trial.recipe.compiled():
        module.compile(dynamic=False, options={"fallback_random": True})

    def step(images: Tensor, labels: Tensor) -> Tensor:
        try:
            return trial.update(images, labels)
        except TorchDynamoException as error:
            cause = getattr(error, "inner_exception", error)
            first = first_line(cause)
            raise UserError(
                f"acceleration = compile: the network cannot be compiled on this machine ({first});"
                " use acceleration=none"
            ) from error

    return step


def has_graphs(device: torch.device) -> bool:
    return device.type == "cuda"


class GraphStep:
    """A training step that is captured as a CUDA graph before the first one and then replayed.

    What changes from step to step is read from tensors at fixed addresses: the batch, the learning rate and the weight
    of the average. Dropout is seeded before each step as usual, because a replay reads the seed of torch's generator.
    On a device without CUDA graphs, the same step runs uncaptured.
    """

    def __init__(self, trial: Trainee) -> None:
        self.update = trial.update
        self.graph: torch.cuda.CUDAGraph | None = None
        cuda = trial.device.type == "cuda"
        for group in trial.optimizer.param_groups:
            # The fused kernel reads float32 on a GPU; on a CPU it reads any number.
            group["lr"] = torch.tensor(group["lr"], dtype=torch.float32 if cuda else torch.float64, device=trial.device)
            group["capturable"] = cuda
        if has_graphs(trial.device):
            width, height = trial.data.size
            batch = (trial.config.batch_size, height, width)
            self.images = torch.zeros((*batch, trial.data.channels), dtype=torch.uint8, device=trial.device)
            self.labels = torch.zeros(batch, dtype=torch.uint8, device=trial.device)
            self._capture(trial)

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        if self.graph is None:
            return self.update(images, labels)
        self.images.copy_(images, non_blocking=True)
        self.labels.copy_(labels, non_blocking=True)
        self.graph.replay()
        return self.loss.clone()

    def _capture(self, trial: Trainee) -> None:
        """Warm up and capture; afterwards weights, averages and the optimizer's state are what they were before."""
        before = [tensor.detach().clone() for tensor in _tensors(trial)]
        known = set(trial.optimizer.state)
        aside = torch.cuda.Stream(trial.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARMUP):
                self.update(self.images, self.labels)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        try:
            # The thread that pins batches may call CUDA during the capture.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self.loss = self.update(self.images, self.labels)
        except RuntimeError as error:  # ending a capture that failed raises another error
            cause = error.__context__
            raise cause if cause is not None and is_out_of_memory(cause) else error from None
        with torch.no_grad():
            for parameter, state in trial.optimizer.state.items():
                if parameter not in known:  # the warm-up created it
                    for tensor in state.values():
                        tensor.zero_()
            for tensor, value in zip(_tensors(trial, known), before, strict=True):
                tensor.copy_(value)
        self.graph = graph


def plain_optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's state as every way of taking steps saves and restores it."""
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        group.update(lr=float(group["lr"]), capturable=False)
    return state


def _tensors(trial: Trainee, parameters: set[Any] | None = None) -> list[Tensor]:
    """All tensors that a step changes; of the optimizer's state, that of these parameters (default: all it has)."""
    found = [*trial.recipe.state_dict(keep_vars=True).values()]
    if trial.config.ema:
        found += trial.ema.network.state_dict(keep_vars=True).values()
    state = trial.optimizer.state
    for parameter in (p for group in trial.optimizer.param_groups for p in group["params"]):
        if parameter in (state if parameters is None else parameters):
            found += state[parameter].values()
    return found
