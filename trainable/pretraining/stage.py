"""The state of a stage: student, teacher, optimizer and centre; taking a step, saving and restoring it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from trainable.config import Config
from trainable.config.stage_fields import view_sizes
from trainable.errors import UserError
from trainable.networks.registry import build_network
from trainable.networks.scribble_network import channels_of, encoder_of
from trainable.networks.weights_file import load_encoder
from trainable.pretraining.dino import CENTRE_DECAY, Projected, Signs, Sums, distillation_loss, sharpened
from trainable.pretraining.unlabelled import Unlabelled
from trainable.pretraining.views import crops_of, random_views
from trainable.training import checkpoint
from trainable.training.report import Stopwatch
from trainable.training.trial import WEIGHTS, autocast_for

ORDER, VIEWS, HEAD, STEP = 11, 12, 13, 14  # random streams separate from those of training
WARMUP, FINAL_RATE = 0.1, 1e-6  # share of the steps; learning rate at the end
WEIGHT_DECAY, LARGEST_GRADIENT = 0.04, 3.0


class Stage:
    """A stage between its first and last step; everything is a function of (seed, fold, config) and the images."""

    def __init__(self, config: Config, images: Unlabelled, fold: int, device: torch.device) -> None:
        self.config, self.images, self.fold, self.device = config, images, fold, device
        if problem := config.size_problem(images.size):
            raise UserError(problem)
        network = build_network(config, images.mean, images.std, seed=self._seed(WEIGHTS), classes=images.classes)
        encoder = encoder_of(network, f"pretraining = {config.pretraining}, architecture = {config.architecture}")
        channels = channels_of(config.inputs, images.channels, images.classes).inputs
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed(HEAD))
            width, height = view_sizes(images.size)[0]
            student = Projected(encoder, (channels, height, width), config.projection_size)
        self.student = student.to(device).train()
        self.teacher = _without_noise(copy.deepcopy(self.student).requires_grad_(False))
        self.centre = torch.zeros(config.projection_size, device=device)
        self.unseen = channels - images.channels  # channels of scribbles, which are always empty
        self.mean, self.std = (
            torch.tensor(values, device=device).view(1, -1, 1, 1) / 255 for values in (images.mean, images.std)
        )
        self.optimizer = _optimizer(self.student, config)
        self.autocast = autocast_for(config, device)
        self.crops = crops_of(images.size, config.local_crops)
        self.sums = Sums(config.projection_size, device)
        self.signs: list[Signs] = []  # of each epoch
        self.step = 0
        self.watch = Stopwatch()

    @property
    def steps_per_epoch(self) -> int:
        return len(self.images) // self.config.pretraining_batch_size

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.config.pretraining_epochs

    @property
    def epoch(self) -> int:
        """The number of complete epochs."""
        return len(self.signs)

    def start_from(self, weights: Mapping[str, Tensor], source: str) -> None:
        """Give student and teacher these weights, before the first step."""
        for each in (self.student, self.teacher):
            load_encoder(each.encoder, weights, source)

    def train_step(self) -> None:
        """One step, without waiting for the device."""
        torch.manual_seed(self._seed(STEP, self.step))
        progress = self.step / self.steps
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config.pretraining_learning_rate, progress)
        views = self._views()
        teacher = self._outputs(self.teacher, views[:2])
        probabilities = sharpened(teacher, self.centre, self.config.teacher_temperature)
        student = self._outputs(self.student, views)
        loss = distillation_loss(student, probabilities, self.config.student_temperature)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.step < self.steps_per_epoch:
            self.student.directions.grad = None  # in the first epoch, only what is projected learns
        nn.utils.clip_grad_norm_(self.student.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self._update_teacher(progress)
        with torch.no_grad():
            self.centre.lerp_(teacher.mean((0, 1)), 1 - CENTRE_DECAY)
            self.sums.add(loss.detach(), probabilities)
        self.step += 1

    def end_epoch(self) -> Signs:
        """This waits for the device."""
        signs = self.sums.signs()
        self.signs.append(signs)
        self.sums.clear()
        return signs

    def encoder_weights(self) -> dict[str, Tensor]:
        """The teacher's encoder with its batch statistics."""
        return checkpoint.cpu_copy(self.teacher.encoder)

    def state(self) -> checkpoint.State:
        return {
            "step": self.step,
            "seconds": self.watch.seconds,
            "signs": [[each.loss, each.entropy, each.spread] for each in self.signs],
            "sums": self.sums.values,
            "centre": self.centre,
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: checkpoint.State) -> None:
        self.step = state["step"]
        self.watch.set(state["seconds"])
        self.signs = [
            Signs(loss, entropy, spread, self.config.projection_size) for loss, entropy, spread in state["signs"]
        ]
        self.sums.values.copy_(state["sums"])
        self.centre.copy_(state["centre"])
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _views(self) -> list[Tensor]:
        epoch, place = divmod(self.step, self.steps_per_epoch)
        order = np.random.default_rng(self._key(ORDER, epoch)).permutation(len(self.images))
        size = self.config.pretraining_batch_size
        pixels = torch.from_numpy(self.images.batch(order[place * size : (place + 1) * size].tolist()))
        if self.device.type == "cuda":
            pixels = pixels.pin_memory().to(self.device, non_blocking=True)
        images = pixels.permute(0, 3, 1, 2).float() / 255
        rng = np.random.default_rng(self._key(VIEWS, self.step))
        return [(random_views(images, crop, rng) - self.mean) / self.std for crop in self.crops]

    def _outputs(self, network: Projected, views: list[Tensor]) -> Tensor:
        """(V, B, K); views of one size go through the encoder together."""
        features = []
        with self.autocast(), torch.set_grad_enabled(network is self.student):
            for group in (views[:2], views[2:]):
                if group:
                    inputs = torch.cat(group)
                    empty = inputs.new_zeros(len(inputs), self.unseen, *inputs.shape[2:])
                    channels = torch.cat([inputs, empty], 1).contiguous(memory_format=torch.channels_last)
                    features.append(network.features(channels))
        with torch.set_grad_enabled(network is self.student):
            outputs = network.project(torch.cat(features))
        return outputs.view(len(views), -1, outputs.shape[-1])

    @torch.no_grad()
    def _update_teacher(self, progress: float) -> None:
        """Its weights are an average; its batch statistics are its own."""
        rest = (1 - self.config.teacher_momentum) * (1 + math.cos(math.pi * progress)) / 2
        torch._foreach_lerp_(list(self.teacher.parameters()), list(self.student.parameters()), rest)

    def _key(self, *stream: int) -> tuple[int, ...]:
        return (*stream, self.config.seed, self.fold)

    def _seed(self, *stream: int) -> int:
        return int(np.random.SeedSequence(self._key(*stream)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def learning_rate(highest: float, progress: float) -> float:
    """Linear warm-up, then a cosine; ``progress`` is the share of the steps that are done."""
    if progress < WARMUP:
        return highest * (progress + WARMUP / 10) / (WARMUP * 1.1)
    swing = (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP))) / 2
    return FINAL_RATE + max(0.0, highest - FINAL_RATE) * swing


def _without_noise(network: Projected) -> Projected:
    """No dropout and no stochastic depth, whose noise would be the target; only batch norm sees the batch."""
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    return network


def _optimizer(student: Projected, config: Config) -> torch.optim.AdamW:
    parameters = list(student.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.pretraining_learning_rate, fused=True)
