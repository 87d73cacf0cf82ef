"""An encoder that starts from a file, and one that learns at a rate of its own."""

from dataclasses import replace

import pytest
import torch
from conftest import small_config
from torch import nn

from trainable.errors import UserError
from trainable.networks.registry import ARCHITECTURES, build_network
from trainable.storage.shared_file import open_shared
from trainable.training import checkpoint
from trainable.training.fold import train_fold
from trainable.training.optimizer import learning_rate, make_optimizer, set_learning_rate
from trainable.training.trial import FoldTrial

pytestmark = pytest.mark.usefixtures("narrow_decoders")

CPU = torch.device("cpu")


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(build_network(small_config(), [0.0] * 3, [1.0] * 3, seed=77).core.encoder.state_dict(), path)
    return path


def encoder_of(state):
    return {name: each for name, each in state.items() if name.startswith("core.encoder.")}


def train(config, data, folds, folder, **options):
    list(train_fold(config, data, folds, 0, folder, device="cpu", workers=0, **options))
    return checkpoint.load(folder / "last.pt")


def test_a_fold_starts_from_the_file_and_no_longer_needs_it_once_it_has_a_checkpoint(
    small_data, small_folds, weights, tmp_path
):
    config = small_config(encoder_weights=str(weights), encoder_learning_rate=0, steps=3, evaluations=3)
    theirs = torch.load(weights)
    state = train(config, small_data, small_folds, tmp_path / "fold", until=1)
    parameters = dict(build_network(config, [0.0] * 3, [1.0] * 3).core.encoder.named_parameters())
    for name in parameters:
        assert torch.equal(state["weights"][f"core.encoder.{name}"], theirs[name]), name
    assert "weights.pt, sha256 " in (tmp_path / "fold/log.txt").read_text()
    weights.unlink()
    assert train(config, small_data, small_folds, tmp_path / "fold")["step"] == 3
    with pytest.raises(UserError, match=r"weights.pt: there is no such file; allowed are none, imagenet"):
        train(config, small_data, small_folds, tmp_path / "another")


def test_the_teacher_starts_from_the_same_encoder(small_data, small_folds, weights):
    trial = FoldTrial(small_config(recipe="mean_teacher"), small_data, small_folds, 0, CPU)
    trial.start_from(theirs := torch.load(weights))
    found = trial.recipe.teacher.core.encoder.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in theirs.items())


def test_a_file_that_has_been_opened_elsewhere_is_used(small_data, small_folds, weights, tmp_path):
    config = small_config(encoder_weights="elsewhere.pt", steps=1, evaluations=1)
    opened = replace(open_shared(str(weights)), name="elsewhere.pt")
    state = train(config, small_data, small_folds, tmp_path / "sent", weights_file=opened)
    local = train(
        small_config(encoder_weights=str(weights), steps=1, evaluations=1), small_data, small_folds, tmp_path / "here"
    )
    assert all(torch.equal(state["weights"][name], each) for name, each in local["weights"].items())
    scratch = train(small_config(steps=1, evaluations=1), small_data, small_folds, tmp_path / "scratch")
    assert not torch.equal(*(next(iter(encoder_of(each["weights"]).values())) for each in (state, scratch)))


def test_a_network_without_an_encoder_cannot_give_it_a_rate(small_data, small_folds, monkeypatch):
    bare = replace(ARCHITECTURES["unet"], build=lambda _, channels: nn.Conv2d(channels.inputs, channels.outputs, 1))
    monkeypatch.setitem(ARCHITECTURES, "unet", bare)
    with pytest.raises(UserError, match=r"^encoder_learning_rate = 0.1, architecture = unet: needs a network with an"):
        FoldTrial(small_config(encoder_learning_rate=0.1), small_data, small_folds, 0, CPU)


def test_without_a_rate_of_its_own_the_optimizer_has_two_groups_as_ever(small_data, small_folds):
    trial = FoldTrial(small_config(), small_data, small_folds, 0, CPU)
    groups = trial.optimizer.param_groups
    assert [len(group["params"]) for group in groups] == [
        sum(p.ndim > 1 for p in trial.network.parameters()),
        sum(p.ndim <= 1 for p in trial.network.parameters()),
    ]
    assert not any("factor" in group for group in groups)


def test_the_encoder_follows_the_schedule_at_its_factor():
    config = small_config(encoder_learning_rate=0.1, weight_decay=0.5, steps=100, warmup_steps=10)
    network = build_network(config, [0.0] * 3, [1.0] * 3)
    optimizer = make_optimizer(network, config, network.core.encoder)
    encoder = {id(parameter) for parameter in network.core.encoder.parameters()}
    seen = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert len(optimizer.param_groups) == 4 and sorted(seen) == sorted(map(id, network.parameters()))
    for step in (0, 20, 99):
        rate = learning_rate(step, config)
        set_learning_rate(optimizer, rate)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                assert group["lr"] == pytest.approx(rate * (0.1 if id(parameter) in encoder else 1))
                assert group["weight_decay"] == (0.5 if parameter.ndim > 1 else 0)


def test_a_first_step_moves_the_encoder_a_tenth_as_far(small_data, small_folds):
    """The first step of Adam is as long as the learning rate, whatever the gradient."""
    moved = []
    for factor in (1, 0.1):
        config = small_config(learning_rate=1e-3, weight_decay=0, ema=0, encoder_learning_rate=factor)
        trial = FoldTrial(config, small_data, small_folds, 0, CPU)
        first = next(trial.network.core.encoder.parameters()).detach()
        before = first.clone()
        trial.train_step(*trial.stream[0])
        moved.append(float((first - before).abs().max()))
    assert moved == pytest.approx([1e-3, 1e-4], rel=0.01)


def test_a_factor_of_0_freezes_the_parameters_of_the_encoder_but_not_its_batch_statistics(small_data, small_folds):
    trial = FoldTrial(small_config(encoder_learning_rate=0), small_data, small_folds, 0, CPU)
    before = {name: each.clone() for name, each in trial.network.state_dict().items()}
    for step in range(2):
        trial.train_step(*trial.stream[step])
    after = trial.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    parameters = dict(trial.network.named_parameters())
    frozen = {name for name in parameters if name.startswith("core.encoder.")}
    assert (
        frozen and not changed & frozen and changed >= {n for n in parameters if "decoder.blocks" in n and "conv" in n}
    )
    assert {name for name in changed if name.startswith("core.encoder.") and name.endswith("running_mean")}
    assert not any(parameter.grad is not None for parameter in trial.network.core.encoder.parameters())


@pytest.mark.parametrize("factor", [0, 0.1])
def test_an_interrupted_fold_ends_bit_identically(small_data, small_folds, tmp_path, factor):
    config = small_config(encoder_learning_rate=factor, steps=4, evaluations=2, dropout=0.5, ema=0.9)
    for until in (1, 3):
        train(config, small_data, small_folds, tmp_path / "interrupted", until=until)
    states = [train(config, small_data, small_folds, tmp_path / name) for name in ("interrupted", "undisturbed")]
    assert all(torch.equal(states[0]["weights"][name], each) for name, each in states[1]["weights"].items())
