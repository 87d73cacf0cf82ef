"""Accelerated steps train the same fold: bit for bit as a graph, within a tolerance when compiled."""

from contextlib import contextmanager, nullcontext
from dataclasses import replace

import pytest
import torch
from conftest import small_config
from torch import nn
from torch._dynamo.utils import counters
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from trainable.errors import FoldFailed, UserError
from trainable.networks.registry import ARCHITECTURES
from trainable.training import acceleration, checkpoint
from trainable.training.fold import train_fold
from trainable.training.trial import FoldTrial

pytestmark = pytest.mark.usefixtures("narrow_decoders")
CONFIG = {"augmentation": "high", "dropout": 0.5, "ema": 0.9, "warmup_steps": 2}


def run(data, folds, folder, mode, **options):
    reports = train_fold(small_config(**CONFIG, acceleration=mode), data, folds, 0, folder, **options)
    return {report.step: (report.loss, report.scores) for report in reports}


def weights(folder):
    return checkpoint.load(folder / "last.pt")["weights"]


@pytest.fixture(scope="module")
def usual(small_data, small_folds, tmp_path_factory):
    folder = tmp_path_factory.mktemp("usual")
    return run(small_data, small_folds, folder, "none"), weights(folder)


class ReplayedOnTheHost:
    """Stands in for a CUDA graph: capturing executes the update once more, replaying executes it."""

    def replay(self):
        self.step.loss = self.step.update(self.step.images, self.step.labels)


@pytest.fixture
def graphs_on_the_host(monkeypatch):
    """Let a CPU capture graphs, so that warm-up, restoring and the tensors at fixed addresses are exercised."""
    stream = type("Stream", (), {"wait_stream": lambda *_: None})
    monkeypatch.setattr(torch.cuda, "Stream", lambda *_: stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda *_: stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", ReplayedOnTheHost)
    monkeypatch.setattr(acceleration, "has_graphs", lambda device: True)
    real = acceleration.GraphStep._capture

    def capture(step, trial):
        real(step, trial)
        step.graph.step = step

    monkeypatch.setattr(acceleration.GraphStep, "_capture", capture)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in other)


def test_the_step_of_a_graph_runs_uncaptured_with_the_same_bits(small_data, small_folds, tmp_path, usual):
    assert run(small_data, small_folds, tmp_path, "graph") == usual[0]
    assert same(weights(tmp_path), usual[1])


def test_a_captured_step_starts_from_the_state_before_its_warm_up(
    small_data, small_folds, tmp_path, usual, graphs_on_the_host
):
    """Also after a resume, which finds an optimizer with a state."""
    run(small_data, small_folds, tmp_path, "graph", until=3)
    resumed = run(small_data, small_folds, tmp_path, "graph")
    assert resumed == {step: usual[0][step] for step in resumed} and 8 in resumed
    assert same(weights(tmp_path), usual[1])


def test_a_captured_step_has_the_learning_rate_of_the_encoder(small_data, small_folds, tmp_path, graphs_on_the_host):
    for mode, until in (("none", None), ("graph", 3), ("graph", None)):
        config = small_config(**CONFIG, acceleration=mode, encoder_learning_rate=0.1, steps=4, evaluations=1)
        list(train_fold(config, small_data, small_folds, 0, tmp_path / mode, until=until))
    assert same(weights(tmp_path / "graph"), weights(tmp_path / "none"))


def test_a_captured_step_of_grey_images_and_several_classes_has_the_same_bits(
    class_data, class_folds, tmp_path, graphs_on_the_host
):
    for mode in ("none", "graph"):
        config = small_config(**CONFIG, acceleration=mode, supervision="scribbles", steps=2, evaluations=1)
        list(train_fold(config, class_data, class_folds, 0, tmp_path / mode))
    assert same(weights(tmp_path / "graph"), weights(tmp_path / "none"))


@pytest.mark.parametrize("recipe", ["mixup", "mean_teacher", "dual_branch", "cyclemix"])
def test_a_captured_step_of_a_recipe_has_the_same_bits(class_data, class_folds, tmp_path, graphs_on_the_host, recipe):
    """The warm-up leaves no trace in a teacher or a second decoder."""
    values = {**CONFIG, "supervision": "scribbles", "recipe": recipe, "steps": 2, "evaluations": 1}
    for mode in ("none", "graph"):
        list(train_fold(small_config(**values, acceleration=mode), class_data, class_folds, 0, tmp_path / mode))
    assert same(weights(tmp_path / "graph"), weights(tmp_path / "none"))


def test_out_of_memory_during_a_capture_is_reported_as_such(
    small_data, small_folds, tmp_path, graphs_on_the_host, monkeypatch
):
    @contextmanager
    def failing_capture(*_, **__):
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
            yield
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(torch.cuda, "graph", failing_capture)
    with pytest.raises(FoldFailed) as failed:
        run(small_data, small_folds, tmp_path, "graph")
    assert failed.value.reason == "out_of_memory"


def test_a_fold_resumes_with_another_acceleration(small_data, small_folds, tmp_path, usual):
    run(small_data, small_folds, tmp_path, "graph", until=3)
    saved = checkpoint.load(tmp_path / "last.pt")["optimizer"]["param_groups"]
    assert all(type(group["lr"]) is float and group["capturable"] is False for group in saved)
    run(small_data, small_folds, tmp_path, "none")
    assert same(weights(tmp_path), usual[1])


@pytest.fixture
def tiny_network(monkeypatch):
    """A network that is compiled in seconds."""

    def build(config, channels):
        first = [
            nn.Conv2d(channels.inputs, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout2d(config.dropout),
        ]
        return nn.Sequential(*first, nn.Conv2d(8, 1, 1))

    monkeypatch.setitem(ARCHITECTURES, "unet", replace(ARCHITECTURES["unet"], build=build))


@pytest.fixture
def new_compiler(monkeypatch):
    """Forget what was compiled in this process; the variable is as torch leaves it when it has been loaded."""
    monkeypatch.setenv(acceleration.CACHE_DIR, default_cache_dir())
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def test_a_compiled_network_gives_the_same_scores(small_data, small_folds, tmp_path, tiny_network, new_compiler):
    usual = run(small_data, small_folds, tmp_path / "usual", "none")
    compiled = run(small_data, small_folds, tmp_path / "compiled", "compile")
    for step, (loss, scores) in usual.items():
        assert compiled[step][0] == pytest.approx(loss, rel=1e-4)
        assert compiled[step][1] == pytest.approx(scores, abs=0.01)
    assert any((small_data.entry.parent / "compiled").iterdir()), "compiled code is kept beside the decoded images"


def test_a_recipe_may_go_back_twice_through_a_compiled_network(
    small_data, small_folds, tmp_path, tiny_network, new_compiler
):
    config = small_config(recipe="cyclemix", supervision="scribbles", steps=1, evaluations=1)
    one, other = (
        list(train_fold(config.model_copy(update={"acceleration": mode}), small_data, small_folds, 0, tmp_path / mode))
        for mode in ("none", "compile")
    )
    assert other[0].loss == pytest.approx(one[0].loss, rel=1e-4)


def test_the_next_fold_trial_of_a_kind_reuses_the_compiled_code(
    small_data, small_folds, tmp_path, tiny_network, new_compiler
):
    run(small_data, small_folds, tmp_path / "first", "compile", until=1)
    torch._dynamo.reset()  # as in a new process, only the files are left
    counters.clear()
    run(small_data, small_folds, tmp_path / "second", "compile", until=1)
    assert counters["inductor"]["fxgraph_cache_hit"] > 0 and not counters["inductor"]["fxgraph_cache_miss"]


def test_a_cache_folder_of_the_user_is_kept(small_data, small_folds, tmp_path, tiny_network, new_compiler, monkeypatch):
    monkeypatch.setenv(acceleration.CACHE_DIR, str(tmp_path / "mine"))
    run(small_data, small_folds, tmp_path / "fold", "compile", until=1)
    assert any((tmp_path / "mine").iterdir())


def test_a_network_that_cannot_be_compiled_is_reported(
    small_data, small_folds, tmp_path, tiny_network, new_compiler, monkeypatch
):
    def refuse(*_, **__):
        raise RuntimeError("no compiler")

    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", refuse)
    with pytest.raises(UserError, match=r"acceleration = compile: .*no compiler.* use acceleration=none"):
        run(small_data, small_folds, tmp_path, "compile")


def test_acceleration_is_not_part_of_the_id():
    ids = {small_config(acceleration=mode).id for mode in ("auto", "none", "compile", "graph")}
    assert ids == {small_config().id}


@pytest.mark.parametrize("mode", ["none", "graph"])
def test_the_random_numbers_of_a_step_depend_on_the_step_alone(small_data, small_folds, mode):
    """A trial that starts at step 2 with the weights of another draws the same dropout."""
    config = small_config(**CONFIG, acceleration=mode)
    one, other = (FoldTrial(config, small_data, small_folds, 0, torch.device("cpu")) for _ in range(2))
    for step in range(2):
        one.train_step(*one.stream[step])
    other.network.load_state_dict(one.network.state_dict())
    other.step = 2
    torch.manual_seed(12345)
    for trial in (one, other):
        trial.train_step(*trial.stream[2])
    assert torch.equal(one._losses[-1], other._losses[-1])
