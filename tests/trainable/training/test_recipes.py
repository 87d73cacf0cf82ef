"""Folds trained by each recipe: they learn, resume with the same bits, and save what belongs to the network alone."""

from dataclasses import replace

import pytest
import torch
from conftest import small_config
from torch import nn

from trainable.config import make_config
from trainable.data.decoded_images import open_data
from trainable.errors import UserError
from trainable.networks.registry import ARCHITECTURES
from trainable.training import checkpoint
from trainable.training.fold import train_fold
from trainable.training.trial import FoldTrial

CPU = torch.device("cpu")
OTHERS = ("mixup", "cutmix", "mean_teacher", "dual_branch", "cyclemix")
BY_SCRIBBLES = {"supervision": "scribbles", "inputs": "image"}


class Encoder(nn.Sequential):
    def forward(self, x):
        return [super().forward(x)]


class Small(nn.Module):
    """A network that takes a step in hundredths of a second."""

    def __init__(self, config, channels):
        super().__init__()
        layers = []
        for width, dilation in ((channels.inputs, 1), (16, 2), (16, 4)):
            layers += [nn.Conv2d(width, 16, 3, padding=dilation, dilation=dilation), nn.BatchNorm2d(16), nn.ReLU()]
        self.encoder = Encoder(*layers)
        self.decoder = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.segmentation_head = nn.Sequential(nn.Dropout2d(config.dropout), nn.Conv2d(16, channels.outputs, 1))

    def forward(self, x):
        (features,) = self.encoder(x)
        return self.segmentation_head(self.decoder(features))


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "unet", replace(ARCHITECTURES["unet"], build=Small))


def run(data, folds, folder, recipe, **options):
    values = {**BY_SCRIBBLES, "recipe": recipe, "steps": 3, "evaluations": 3, "dropout": 0.5, "ema": 0.9}
    reports = train_fold(small_config(**values), data, folds, 0, folder, **options)
    return {report.step: (report.loss, report.validation_loss, report.scores) for report in reports}


@pytest.mark.parametrize("recipe", OTHERS)
def test_a_fold_resumes_with_the_same_bits(class_data, class_folds, tmp_path, recipe):
    expected = run(class_data, class_folds, tmp_path / "once", recipe)
    run(class_data, class_folds, tmp_path / "twice", recipe, until=1)
    torch.manual_seed(12345)
    resumed = run(class_data, class_folds, tmp_path / "twice", recipe)
    assert resumed == {step: expected[step] for step in resumed} and 3 in resumed
    one, other = (checkpoint.load(tmp_path / name / "last.pt")["weights"] for name in ("once", "twice"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("recipe", OTHERS)
def test_only_teachers_and_second_decoders_are_saved_beside_the_network(small_data, small_folds, tmp_path, recipe):
    run(small_data, small_folds, tmp_path, recipe, until=1)
    state = checkpoint.load(tmp_path / "last.pt")
    extra = set(state.get("recipe", ()))
    assert bool(extra) == (recipe in ("mean_teacher", "dual_branch"))
    network, config, _ = checkpoint.load_network(tmp_path / "last.pt")
    assert config.recipe == recipe and state["weights"].keys() == network.state_dict().keys()
    if recipe == "mean_teacher":
        assert {name.removeprefix("teacher.") for name in extra} == network.state_dict().keys()
    if recipe == "dual_branch":
        second = {name.removeprefix("both.core.second.") for name in extra}
        assert second == {
            name.removeprefix("core.") for name in network.state_dict() if ".encoder." not in f".{name}"
        } - {"mean", "std"}


@pytest.mark.parametrize("recipe", OTHERS)
def test_a_network_learns_from_scribbles(class_folder, small_cache, class_folds, tmp_path, recipe):
    data = open_data(class_folder, (64, 64), cache=small_cache)
    values = {**BY_SCRIBBLES, "augmentation": "none", "ema": 0.9, "learning_rate": 2e-2, "steps": 60, "evaluations": 1}
    *_, last = train_fold(small_config(**values, recipe=recipe), data, class_folds, 0, tmp_path)
    assert last.scores["dice"] > 0.25, last.scores


@pytest.mark.parametrize("recipe", [name for name in OTHERS if name != "cyclemix"])
def test_a_network_learns_from_masks(small_data, small_folds, recipe):
    values = {"augmentation": "none", "learning_rate": 2e-2, "steps": 100, "dropout": 0}
    trial = FoldTrial(small_config(recipe=recipe, **values), small_data, small_folds, 0, CPU)
    for step in range(60):
        trial.train_step(*trial.stream[step])
    losses = trial._collect_losses()
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_the_second_decoder_is_trained_and_clipped_but_not_scored(small_data, small_folds):
    values = {**BY_SCRIBBLES, "recipe": "dual_branch", "gradient_clip": 1e-3, "weight_decay": 0, "ema": 0}
    trial = FoldTrial(small_config(**values), small_data, small_folds, 0, CPU)
    before = {name: tensor.clone() for name, tensor in trial.recipe.state().items()}
    trial.train_step(*trial.stream[0])
    norms = [p.grad.norm() for p in trial.recipe.parameters() if p.grad is not None]
    assert torch.stack(norms).norm().item() == pytest.approx(1e-3, rel=1e-3)
    changed = [name for name, tensor in trial.recipe.state().items() if not torch.equal(tensor, before[name])]
    assert any("segmentation_head" in name for name in changed) and any("decoder" in name for name in changed)
    scored = {id(parameter) for parameter in trial.ema.network.parameters()}
    assert not scored & {id(tensor) for name, tensor in trial.recipe.named_parameters() if ".second." in name}


@pytest.mark.parametrize("recipe", ["mixup", "cutmix", "cyclemix"])
def test_a_pair_needs_two_images(recipe):
    rule = f"^recipe = {recipe}: mixes pairs of a batch, so batch_size must be at least 2$"
    with pytest.raises(UserError, match=rule):
        make_config({"recipe": recipe, "batch_size": 1, "supervision": "scribbles"})
    assert make_config({"recipe": recipe, "batch_size": 2, "supervision": "scribbles"}).recipe == recipe


def test_cyclemix_needs_scribbles():
    rule = "^recipe = cyclemix: needs supervision = scribbles; here it is masks$"
    with pytest.raises(UserError, match=rule):
        make_config({"recipe": "cyclemix"})


@pytest.mark.parametrize(
    ("name", "value", "recipes"),
    [
        ("mix_alpha", 1, "mixup or cutmix or cyclemix"),
        ("teacher_decay", 0.9, "mean_teacher"),
        ("input_noise", 0.2, "mean_teacher"),
        ("consistency", 1, "mean_teacher"),
        ("consistency_rampup", 0.1, "mean_teacher"),
        ("branch_dropout", 0.1, "dual_branch"),
        ("pseudo_weight", 0.1, "dual_branch"),
        ("mix_blocks", 2, "cyclemix"),
        ("mix_beta", 2, "cyclemix"),
        ("mix_gamma", 2, "cyclemix"),
        ("mix_eta", 2, "cyclemix"),
        ("mix_transport", "blocks", "cyclemix"),
        ("occlusion", "unlabelled", "cyclemix"),
        ("occlusion_size", 0.2, "cyclemix"),
        ("global_consistency", 1, "cyclemix"),
        ("local_consistency", 1, "cyclemix"),
    ],
)
def test_hyperparameters_belong_to_their_recipe(name, value, recipes):
    with pytest.raises(UserError, match=f"^{name}: belongs to recipe = {recipes}; here recipe is supervised, so leave"):
        make_config({name: value})
    own = {"recipe": recipes.split()[-1], "supervision": "scribbles"}
    config = make_config({**own, name: value})
    assert config.id != make_config(own).id != make_config({"supervision": "scribbles"}).id
    assert make_config(config.model_dump(mode="json")) == config


def test_the_cost_of_moving_blocks_exists_where_they_move():
    own = {"recipe": "cyclemix", "supervision": "scribbles"}
    rule = "^mix_transport_cost: belongs to mix_transport = blocks; here mix_transport is none, so leave it out$"
    with pytest.raises(UserError, match=rule):
        make_config({**own, "mix_transport_cost": 0.5})
    moving = {**own, "mix_transport": "blocks"}
    assert make_config({**moving, "mix_transport_cost": 0.5}).id != make_config(moving).id


def test_the_usual_recipe_is_not_part_of_an_id():
    assert make_config({"recipe": "supervised"}).id == make_config({}).id
    assert "recipe" not in make_config({}).model_dump(mode="json")
