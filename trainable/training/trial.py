"""The state of a fold trial: network, optimizer and best weights; taking a step, saving and restoring it."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainable.augmentation.batches import BatchStream
from trainable.config import UNSCORED, Config, make_config
from trainable.data.decoded_images import Data
from trainable.data.folds import Folds
from trainable.errors import FoldFailed, UserError
from trainable.networks.ema import Ema
from trainable.networks.registry import build_network
from trainable.networks.scribble_network import encoder_of
from trainable.networks.weights_file import load_encoder
from trainable.objectives.losses import training_loss
from trainable.objectives.metrics import SELECTION, known_metric, scores
from trainable.recipes.registry import build_recipe
from trainable.training import checkpoint
from trainable.training.acceleration import Step, plain_optimizer_state, step_function
from trainable.training.evaluate import evaluate
from trainable.training.labels import check_labels, scored, scribble_weights, supervised, usable, volumes_of
from trainable.training.optimizer import learning_rate, make_optimizer, set_learning_rate
from trainable.training.report import Best, Report, Stopwatch

WEIGHTS, STEP = 3, 4  # random streams separate from those of trainable.augmentation.batches


class FoldTrial:
    """One fold of one config between its first and last step.

    ``metric`` decides early stopping and the best weights.
    """

    gpus = 1.0  # the share of a GPU that reports record

    def __init__(
        self, config: Config, data: Data, folds: Folds, fold: int, device: torch.device, metric: str = SELECTION
    ) -> None:
        self.config, self.data, self.folds, self.fold, self.device = config, data, folds, fold, device
        self.metric = known_metric(metric, data.task, data.volumes is not None)
        check_labels(config, data.split)
        self.training = usable(data.indices(folds.training(fold)), supervised(config, data), fold, "to train on")
        self.held_out = usable(data.indices(folds.held_out(fold)), scored(data), fold, "held out to score on")
        self.volumes = volumes_of(data, self.held_out)
        self.class_weights = scribble_weights(config, data, self.training, fold)
        if config.batch_size > len(self.training):
            raise UserError(
                f"batch_size = {config.batch_size}: larger than fold {fold}, which has {len(self.training)} images"
            )
        if config.size not in ("auto", data.size):
            raise UserError(f"size = {config.size}: the data was opened at {data.size[0]}x{data.size[1]}")
        if problem := config.size_problem(data.size):
            raise UserError(problem)
        mean, std = data.statistics(self.training)
        classes = len(data.task.classes)
        self.network = build_network(config, mean, std, seed=self._seed(WEIGHTS), classes=classes).to(device)
        rate = config.encoder_learning_rate
        asked = f"encoder_learning_rate = {rate:g}, architecture = {config.architecture}"
        encoder = None if rate == 1 else encoder_of(self.network, asked)
        if encoder is not None and rate == 0:
            encoder.requires_grad_(False)
        self.ema = Ema(self.network, config.ema)
        self.autocast = autocast_for(config, device)
        self.recipe = build_recipe(config, self.network, self.objective, self.autocast)
        self.optimizer = make_optimizer(self.recipe, config, encoder)
        self.stream = BatchStream(data, self.training, config, fold)
        self.step = 0
        self.watch = Stopwatch()
        self.best = Best()
        self.report: Report | None = None
        self._take_step: Step | None = None
        self._losses: list[Tensor] = []
        self._past_losses: list[float] = []

    def start_from(self, encoder: Mapping[str, Tensor], source: str = "the pre-trained encoder") -> None:
        """Give the encoder these weights and batch statistics, before the first step."""
        for network in (self.network, self.ema.network, *self.recipe.averages()):
            load_encoder(encoder_of(network, source), encoder, source)

    @property
    def epoch(self) -> float:
        return self.step * self.config.batch_size / len(self.training)

    @property
    def finished(self) -> bool:
        return self.report is not None and self.report.finished

    def train_step(self, images: Tensor, labels: Tensor) -> None:
        """One step of the optimizer, without waiting for the device."""
        if self._take_step is None:
            self._take_step = step_function(self)
        # What the recipe and dropout draw is seeded by the step, so no random state has to be saved.
        torch.manual_seed(self._seed(STEP, self.step))
        set_learning_rate(self.optimizer, learning_rate(self.step, self.config))
        self.ema.set_step(self.step)
        self.recipe.set_step(self.step)
        images, labels = images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
        self._losses.append(self._take_step(images, labels))
        self.step += 1

    def update(self, images: Tensor, labels: Tensor) -> Tensor:
        """Forward, backward, optimizer and averages; returns the loss as a tensor that has not been waited for."""
        loss: Tensor = self.recipe(images, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.config.gradient_clip:
            nn.utils.clip_grad_norm_(self.recipe.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        self.ema.update()
        self.recipe.after_update()
        return loss.detach()

    def objective(self, logits: Tensor, labels: Tensor, images: Tensor) -> Tensor:
        """The loss of one prediction."""
        return training_loss(logits, labels, self.config, self.data.ignoring, images, self.class_weights)

    def evaluate(self) -> Report:
        """Score the averaged weights on the held-out images, keep them if they are the best, and report."""
        config = self.config
        losses = self._collect_losses()
        result = evaluate(
            self.ema.network, self.data, self.held_out, config, self.device, self.autocast, self.class_weights
        )
        if not math.isfinite(result.loss):
            raise FoldFailed("nan", f"the validation loss is {result.loss} at step {self.step}", self.step)
        values = scores(result.counts, self.data.task, self.volumes)
        if values[self.metric] > self.best.score:
            self.best = Best(values[self.metric], self.step, checkpoint.cpu_copy(self.ema.network))
        waited = (self.step - self.best.step) * config.batch_size / len(self.training)
        self.report = Report(
            step=self.step,
            epoch=self.epoch,
            loss=float(np.mean(losses)) if losses else math.nan,
            validation_loss=result.loss,
            scores=values,
            learning_rate=learning_rate(self.step, config),
            seconds=self.watch.seconds,
            finished=self.step >= config.steps or bool(config.patience and waited > config.patience),
            gpus=self.gpus,
        )
        self._past_losses = []
        return self.report

    def save(self, folder: Path, once: bool = False) -> None:
        """Save everything needed to resume, or only the weights if training is finished.

        With ``once``, the state of a finished fold has no weights, because ``best.pt`` has those that are used.
        """
        losses = self._collect_losses()
        weights = self.ema.network.state_dict()
        state = self._identity() | {
            "step": self.step,
            "seconds": self.watch.seconds,
            "losses": losses,
            "report": None if self.report is None else vars(self.report),
            "best_score": self.best.score,
            "best_step": self.best.step,
            "weights": {} if once and self.finished else weights,
        }
        if self.finished:
            checkpoint.save_last(state, folder)
            (folder / checkpoint.PREVIOUS).unlink(missing_ok=True)
        else:
            state |= {
                "network": self.network.state_dict() if self.config.ema else {},
                "optimizer": plain_optimizer_state(self.optimizer),
                # the same tensors are written once
                "best_weights": weights if self.best.step == self.step else self.best.weights,
            }
            if recipe := self.recipe.state():
                state["recipe"] = recipe
            checkpoint.save_last(state, folder)

    def save_best(self, folder: Path) -> None:
        """Save the best weights in a file that is sufficient to predict."""
        state = self._identity() | {"step": self.best.step, "score": self.best.score, "weights": self.best.weights}
        checkpoint.save(state, folder / checkpoint.BEST)

    def restore(self, state: checkpoint.State, source: Path) -> None:
        """Restore a saved state exactly; the state of another fold trial is refused."""
        self._refuse_foreign(state, source)
        self.metric = state.get("metric", SELECTION)  # older checkpoints do not record it
        self.step, self._past_losses = state["step"], list(state["losses"])
        self.watch.set(state["seconds"])
        self.report = None if state["report"] is None else Report(**state["report"])
        self.best = Best(state["best_score"], state["best_step"], state.get("best_weights", {}))
        if not self.finished or state["weights"]:
            self.ema.network.load_state_dict(state["weights"])
        if not self.finished:
            if self.config.ema:
                self.network.load_state_dict(state["network"])
            self.recipe.restore(state.get("recipe", {}))
            self.optimizer.load_state_dict(state["optimizer"])
            self._take_step = None

    def _identity(self) -> checkpoint.State:
        width, height = self.data.size
        return {
            "config": self.config.model_dump(mode="json"),
            "fold": self.fold,
            "data_hash": self.data.hash,
            "folds_hash": self.folds.hash,
            "metric": self.metric,
            "size": [width, height],
            "trained_on": self.folds.training(self.fold),
        } | ({"classes": list(self.data.task.classes)} if self.data.task.declared else {})

    def _refuse_foreign(self, state: checkpoint.State, source: Path) -> None:
        theirs, ours = dict(make_config(state["config"], self.config.plugins)), dict(self.config)
        decisive = [key for key in ours if key not in UNSCORED and theirs[key] != ours[key]]
        differences = [f"{key} = {theirs[key]!r}, not {ours[key]!r}" for key in decisive]
        if state["data_hash"] != self.data.hash:
            differences.append(f"other data (hash {state['data_hash'][:12]}, not {self.data.hash[:12]})")
        elif state["folds_hash"] != self.folds.hash:
            differences.append("other folds of the same data")
        if (size := tuple(state["size"])) != self.data.size:
            differences.append("images at {}x{}, not {}x{}".format(*size, *self.data.size))
        if state["fold"] != self.fold:
            differences.append(f"fold {state['fold']}, not {self.fold}")
        if state.get("metric", self.metric) != self.metric:
            differences.append(f"goes by {state['metric']}, not {self.metric}")
        if differences:
            raise UserError(f"{source}: belongs to another fold trial: {'; '.join(differences)}. Choose another folder")

    def _collect_losses(self) -> list[float]:
        """All losses since the last report as numbers; this waits for the device."""
        if self._losses:
            self._past_losses += torch.stack(self._losses).tolist()
            self._losses = []
        for step, loss in enumerate(self._past_losses, self.step - len(self._past_losses) + 1):
            if not math.isfinite(loss):
                raise FoldFailed("nan", f"the training loss is {loss} at step {step}", step)
        return self._past_losses

    def _seed(self, *stream: int) -> int:
        key = (*stream, self.config.seed, self.fold)
        return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def autocast_for(config: Config, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    if config.precision == "float32" or (config.precision == "auto" and device.type == "cpu"):
        return nullcontext
    return lambda: torch.autocast(device.type, torch.bfloat16)
