"""SAM: its prompts, what of it is trained, and where its weights come from."""

import math

import pytest
import torch
from safetensors.torch import save_file
from tiny_networks import tiny_network

from trainable.config import make_config
from trainable.errors import UserError
from trainable.networks import registry
from trainable.networks.listing import network_rows
from trainable.networks.registry import ARCHITECTURES, build_network, fetch_weights
from trainable.networks.sam_weights import SHARED, TIED
from trainable.training import checkpoint
from trainable.training.fold import train_fold
from trainable.training.trial import FoldTrial

MEAN, STD = [100.0] * 3, [50.0] * 3


def make(classes=2, seed=0, **values):
    return build_network(tiny_network("sam", **values), MEAN, STD, seed, classes)


def prompts_of(network, scribble):
    """Points at SAM's size and their labels, as the prompt encoder gets them, of one image."""
    seen = []
    network.core.model.prompt_encoder.register_forward_pre_hook(lambda module, given: seen.append(given))
    with torch.inference_mode():
        logits = network.eval()(torch.full((1, *scribble.shape, 3), 90, dtype=torch.uint8), scribble[None])
    assert logits.isfinite().all()
    points, labels = seen[0][:2]
    return points[0], labels[0]


def test_two_classes_have_one_prompt_with_positive_and_negative_points():
    scribble = torch.zeros(32, 16, dtype=torch.uint8)
    scribble[4, 8], scribble[20, 2] = 2, 1
    points, labels = prompts_of(make(sam_points=2), scribble)
    # 32 pixels become 64, so the centre of pixel 8 is at 17; the library adds the half pixel to 16.5.
    assert labels.tolist() == [[0, -1, 1, -1]]
    assert points[0, 0].tolist() == [4.5, 40.5] and points[0, 2].tolist() == [16.5, 8.5]


def test_four_classes_have_three_prompts_whose_negative_points_are_those_of_the_others():
    scribble = torch.zeros(64, 64, dtype=torch.uint8)
    for number in (1, 2, 4):
        scribble[10 * number, 3] = number
    points, labels = prompts_of(make(classes=4, sam_points=1), scribble)
    assert labels.tolist() == [[0, 1, -1, 0], [0, 0, -1, 0], [0, 0, -1, 1]]
    assert points.shape == (3, 4, 2) and points[:, 3].tolist() == [[3, 40]] * 3


@pytest.mark.parametrize("classes", [2, 4])
def test_without_scribbles_there_is_no_point_and_a_finite_gradient(classes):
    network, scribble = make(classes), torch.zeros(40, 50, dtype=torch.uint8)
    assert (prompts_of(network, scribble)[1] == -1).all()
    network.train()(torch.zeros(1, 40, 50, 3, dtype=torch.uint8), scribble[None]).square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.requires_grad)


def test_the_mask_follows_the_points_and_the_background_of_several_classes_is_zero():
    one, other = torch.zeros(2, 1, 48, 48, dtype=torch.uint8)
    one[0, 5:9, 5:40], other[0, 30:40, 7] = 2, 2
    image = torch.randint(0, 256, (1, 48, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for classes in (2, 4):
        network = make(classes).eval()
        with torch.inference_mode():
            found = [network(image, scribble) for scribble in (one, other)]
        assert not torch.allclose(*found)
        assert classes == 2 or all((logits[:, 0] == 0).all() for logits in found)


def test_an_image_that_is_no_square_is_scaled_and_not_distorted():
    """A mask that grows to the right at SAM's size does so over the whole width of the image and not beyond it."""
    core, seen = make().core.eval(), []
    ramp = torch.arange(16.0).expand(1, 1, 1, 16, 16)
    core.model.vision_encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    core.model.mask_decoder.forward = lambda *given, **settings: (ramp, None)
    with torch.inference_mode():
        logits = core(torch.ones(1, 4, 20, 40))
    assert logits.shape == (1, 1, 20, 40)
    expected = (torch.arange(40.0) * 16 / 40 - 0.3).clamp(0, 15)
    torch.testing.assert_close(logits[0, 0], expected.expand(20, 40), atol=0.02, rtol=0)
    assert (seen[0][0, :, :32] == 1).all() and (seen[0][0, :, 32:] == 0).all()


@pytest.mark.parametrize(("trains", "names"), [("none", {"threshold"}), ("decoder", {"threshold", "mask_decoder"})])
def test_what_is_frozen_stays_as_it_was_and_is_not_decayed(trains, names, small_data, small_folds):
    config = tiny_network("sam", sam_trains=trains, weight_decay=0.5, learning_rate=1e-2, ema=0.9)
    trial = FoldTrial(config, small_data, small_folds, 0, torch.device("cpu"))
    before = {name: parameter.detach().clone() for name, parameter in trial.network.named_parameters()}
    for step in range(2):
        trial.train_step(*trial.stream[step])
    for network in (trial.network, trial.ema.network):
        changed = {name for name, now in network.named_parameters() if not torch.equal(now, before[name])}
        assert {part for part in names for name in changed if f".{part}" in name} == names
        assert all(any(f".{part}" in name for part in names) for name in changed)
    given = {parameter for group in trial.optimizer.param_groups for parameter in group["params"]}
    frozen = [parameter for parameter in trial.network.parameters() if not parameter.requires_grad]
    assert frozen and not given & set(frozen) and all(parameter.grad is None for parameter in frozen)


def test_all_of_it_can_be_trained_but_what_is_not_used():
    trained = {name for name, parameter in make(sam_trains="all").named_parameters() if parameter.requires_grad}
    assert any("vision_encoder" in name for name in trained) and any("not_a_point" in name for name in trained)
    assert not any("positional_embedding" in name or "iou_prediction" in name for name in trained)


def saved(folder, change=lambda weights: None):
    """The weights of a tiny SAM under the names that the library uses, one of two equal tensors left out."""
    from trainable.networks.cores.sam import _model

    torch.manual_seed(7)
    weights = {
        name: tensor.clone() for name, tensor in _model(tiny_network("sam")).state_dict().items() if name != TIED
    }
    change(weights)
    folder.mkdir(exist_ok=True)
    save_file(weights, folder / "model.safetensors")
    return weights


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_weights_are_those_of_a_folder_or_a_file(tmp_path, name):
    weights = saved(tmp_path)
    network = make(sam_weights=str(tmp_path / name))
    found = network.core.model.state_dict()
    assert torch.equal(found["mask_decoder.iou_token.weight"], weights["mask_decoder.iou_token.weight"])
    assert torch.equal(found[SHARED], weights[SHARED]) and torch.equal(found[TIED], weights[SHARED])
    assert not torch.equal(found[SHARED], make().core.model.state_dict()[SHARED])


def renamed(weights):
    weights["decoder.other"] = weights.pop("mask_decoder.iou_token.weight")


def reshaped(weights):
    weights["mask_decoder.iou_token.weight"] = torch.zeros(1, 256)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed, r"with sam_size = tiny: missing: mask_decoder.iou_token.weight; unknown: decoder.other$"),
        (reshaped, r"of another shape: mask_decoder.iou_token.weight \[1, 256\], not \[1, 32\]$"),
        (dict.clear, r"missing: \S+, \S+, \S+, and \d+ more$"),
    ],
)
def test_weights_of_another_network_are_refused_with_what_differs(tmp_path, change, message):
    saved(tmp_path, change)
    with pytest.raises(UserError, match=r"^sam_weights = .*: are not those of a SAM .*" + message):
        make(sam_weights=str(tmp_path))


def test_weights_that_cannot_be_read_are_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"^sam_weights = .*: there is no model.safetensors in this folder$"):
        make(sam_weights=str(tmp_path))
    (tmp_path / "other.bin").write_bytes(b"no weights" * 9)
    with pytest.raises(UserError, match=r"^sam_weights = .*: is not a readable safetensors file \(.*\)$"):
        make(sam_weights=str(tmp_path / "other.bin"))
    for name in ("facebook/no-such-sam", str(tmp_path / "missing.safetensors")):
        with pytest.raises(
            UserError, match=r"^sam_weights = .*: is neither a folder nor a file here, and no model .*$"
        ):
            fetch_weights([tiny_network("sam", sam_weights=name)])


def test_a_checkpoint_is_loaded_without_the_weights_that_training_started_from(tmp_path, small_data, small_folds):
    saved(tmp_path / "sam")
    config = tiny_network("sam", sam_weights=str(tmp_path / "sam"), steps=1, evaluations=1)
    list(train_fold(config, small_data, small_folds, 0, tmp_path / "fold", device="cpu", workers=0))
    (tmp_path / "sam" / "model.safetensors").unlink()
    network, _, state = checkpoint.load_network(tmp_path / "fold" / "best.pt")
    assert torch.equal(network.state_dict()["core.threshold"], state["weights"]["core.threshold"])


def test_its_hyperparameters_exist_with_it_alone_and_it_needs_scribbles_and_has_no_other_encoder():
    for name, value in {"sam_size": "tiny", "sam_weights": "x", "sam_trains": "all", "sam_points": 3}.items():
        with pytest.raises(UserError, match=rf"^{name}: belongs to architecture = sam; here architecture is unet"):
            make_config({name: value})
    refused = {"inputs": "image", "encoder_weights": "w.pt", "encoder_learning_rate": 0.1, "pretraining": "dino"}
    for name, value in refused.items():
        with pytest.raises(UserError, match=rf"^{name} = {value}: does not go with architecture = sam: .*$"):
            make_config({"architecture": "sam", name: value})


def test_without_its_package_it_is_refused_and_still_listed(monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    monkeypatch.setattr("trainable.networks.listing.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"^architecture = sam: needs .* install it with: pip install 'scribble-search\[sam\]'$"
    ):
        make()
    for name in ARCHITECTURES.keys() - {"sam", "unet"}:
        monkeypatch.delitem(ARCHITECTURES, name)
    assert {row["network"]: row["million_parameters"] for row in network_rows()} == {"unet": 10.1, "sam": None}


def test_a_few_steps_lower_the_loss(small_data, small_folds, tmp_path):
    config = tiny_network("sam", steps=48, evaluations=4, dropout=0, augmentation="none", learning_rate=5e-3)
    reports = list(train_fold(config, small_data, small_folds, 0, tmp_path, device="cpu", workers=0))
    assert reports[-1].loss < 0.9 * reports[0].loss and math.isfinite(reports[-1].validation_loss)


def test_a_fold_of_four_classes_with_grey_images_is_trained_on_scribbles_too(class_data, class_folds):
    trial = FoldTrial(tiny_network("sam", supervision="scribbles"), class_data, class_folds, 0, torch.device("cpu"))
    trial.train_step(*trial.stream[0])
    assert trial._losses[0].isfinite() and math.isfinite(trial.evaluate().validation_loss)
