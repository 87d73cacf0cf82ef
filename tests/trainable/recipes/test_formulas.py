"""The formulas of recipes on tiny tensors, worked out by hand or taken from the supervised loss."""

import math
from contextlib import nullcontext

import pytest
import torch
from conftest import small_config
from torch import nn

from trainable.data.packed_labels import pack, unpack
from trainable.errors import UserError
from trainable.networks.scribble_network import ScribbleNetwork
from trainable.objectives.losses import training_loss
from trainable.recipes import cyclemix, dual_branch
from trainable.recipes.cutmix import rectangles
from trainable.recipes.cyclemix import Puzzle, disagreement, occluded, rotated_squares, tidied
from trainable.recipes.dual_branch import batch_dice, pseudo_labels
from trainable.recipes.mean_teacher import ramp
from trainable.recipes.registry import build_recipe
from trainable.recipes.shares import BetaShares

CHOICES = ("supervised", "mixup", "cutmix", "mean_teacher", "dual_branch", "cyclemix")


class TinyEncoder(nn.Conv2d):
    def forward(self, x):
        return [super().forward(x)]


class TinyCore(nn.Module):
    """An encoder of one convolution, and a decoder of one."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.encoder = TinyEncoder(inputs, 4, 3, padding=1)
        self.head = nn.Conv2d(4, outputs, 1)

    def forward(self, x):
        (features,) = self.encoder(x)
        return self.head(torch.relu(features))


@pytest.fixture(params=[2, 4], ids=["two classes", "four classes"])
def make(request):
    """A recipe of the given hyperparameters around a tiny network of two or four classes that sees RGB images."""

    def recipe(name, **values):
        classes = request.param
        torch.manual_seed(0)
        network = ScribbleNetwork(
            TinyCore(3, 1 if classes == 2 else classes), [99.0] * 3, [25.0, 50.0, 100.0], classes, "image"
        )
        config = small_config(recipe=name, **{"supervision": "scribbles", "inputs": "image", **values})

        def objective(logits, labels, images):
            return training_loss(logits, labels, config, True, images)

        return build_recipe(config, network, objective, nullcontext)

    recipe.classes = request.param
    return recipe


@pytest.fixture
def batch(make):
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (4, 32, 32, 3), generator=generator, dtype=torch.uint8)
    scribble = torch.randint(0, make.classes, (4, 32, 32), generator=generator, dtype=torch.uint8)
    scribble[torch.rand(scribble.shape, generator=generator) < 0.8] = 255
    return images, torch.from_numpy(pack(scribble.numpy(), 0 * scribble.numpy()))


def fixed(value):
    """In place of random shares."""
    return lambda *shape: torch.full(shape, float(value))


def supervised_loss(make, batch, **values):
    return make("supervised", **values)(*batch).item()


def probabilities_by_hand(logits):
    return torch.cat([1 - logits.sigmoid(), logits.sigmoid()], 1) if logits.shape[1] == 1 else logits.softmax(1)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_shares_of_0_and_1_give_the_supervised_loss(make, batch, name, monkeypatch):
    recipe = make(name)
    for share in (0, 1):
        monkeypatch.setattr(recipe.shares, "forward", fixed(share))
        assert recipe(*batch).item() == pytest.approx(supervised_loss(make, batch), rel=1e-5)


def test_mixup_blends_images_and_weights_the_losses_of_both_label_sets(make, batch, monkeypatch):
    recipe, (images, labels) = make("mixup"), batch
    monkeypatch.setattr(recipe.shares, "forward", fixed(0.25))
    blended = 0.25 * images.float() + 0.75 * images.float().roll(1, 0)
    logits = recipe.network(blended, unpack(labels)[0])
    own, other = (recipe.objective(logits, each, blended) for each in (labels, labels.roll(1, 0)))
    assert recipe(images, labels).item() == pytest.approx((0.25 * own + 0.75 * other).item(), rel=1e-5)


def test_mixup_blends_the_scribbles_that_a_network_sees():
    core = nn.Conv2d(4, 1, 1)
    network = ScribbleNetwork(core, [0.0] * 3, [1.0] * 3)
    seen = []
    core.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    config = small_config(recipe="mixup")
    recipe = build_recipe(config, network, lambda logits, labels, images: logits.mean(), nullcontext)
    recipe.shares.forward = fixed(0.25)
    labels = torch.tensor([[[32]], [[0]]], dtype=torch.uint8)  # a scribble of the foreground, and none
    recipe(torch.zeros(2, 1, 1, 3, dtype=torch.uint8), labels)
    assert seen[0][:, 3].flatten().tolist() == [0.25, 0.75]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.75, 1.0])
def test_rectangles_leave_the_share_of_the_area(share):
    torch.manual_seed(0)
    inside = rectangles(torch.full((50,), share), 64, 96)
    assert inside.float().mean((1, 2)) == pytest.approx(1 - share, abs=0.03)
    assert share in (0, 1) or len({tuple(each.flatten().tolist()) for each in inside}) > 40, "at random places"
    rows, columns = inside.any(2).float(), inside.any(1).float()
    assert torch.equal(inside.float(), rows.unsqueeze(2) * columns.unsqueeze(1)) and rows.diff().abs().sum(1).max() <= 2


def test_cutmix_cuts_labels_with_the_image(make, batch, monkeypatch):
    recipe, (images, labels) = make("cutmix"), batch
    seen = []
    monkeypatch.setattr(recipe, "predict", lambda images, labels: seen.append((images, labels)) or torch.zeros(()))
    monkeypatch.setattr(recipe, "objective", lambda logits, *_: logits)
    recipe(images, labels)
    ((mixed, mixed_labels),) = seen
    own, other = (mixed == images).all(-1), (mixed == images.roll(1, 0)).all(-1)
    assert (own | other).all() and own.any() and other.any()
    assert torch.equal(mixed_labels, torch.where(own, labels, labels.roll(1, 0)))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_have_the_moments_of_a_beta_distribution(alpha):
    torch.manual_seed(0)
    drawn = BetaShares(alpha)(100_000)
    assert drawn.min() >= 0 and drawn.max() <= 1 and drawn.mean().item() == pytest.approx(0.5, abs=0.005)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.02)


def test_a_teacher_that_agrees_adds_nothing(make, batch):
    """Without noise and with its first weights, the teacher predicts the same."""
    recipe = make("mean_teacher", input_noise=0, consistency=10, consistency_rampup=0)
    recipe.set_step(3)
    assert recipe(*batch).item() == pytest.approx(supervised_loss(make, batch), rel=1e-6)


def test_the_difference_to_the_teacher_is_the_mean_square_of_probabilities(make, batch):
    recipe, (images, labels) = make("mean_teacher", input_noise=0, consistency=10, consistency_rampup=0), batch
    recipe.set_step(0)
    with torch.no_grad():
        recipe.teacher.core.head.weight.mul_(-1)
        logits, others = (each(images, unpack(labels)[0]) for each in (recipe.network, recipe.teacher))
        p, q = (each.sigmoid() if make.classes == 2 else each.softmax(1) for each in (logits, others))
    expected = supervised_loss(make, batch) + 10 * ((p - q) ** 2).mean().item()
    assert recipe(images, labels).item() == pytest.approx(expected, rel=1e-5)


def test_noise_differs_between_student_and_teacher(make, batch):
    recipe = make("mean_teacher", input_noise=0.5, consistency=100, consistency_rampup=0)
    recipe.set_step(0)
    assert recipe(*batch).item() > 1.01 * supervised_loss(make, batch)


def test_the_teacher_is_an_average_of_the_weights(make):
    recipe = make("mean_teacher", teacher_decay=0.9)
    before = recipe.teacher.core.head.weight.clone()
    with torch.no_grad():
        recipe.network.core.head.weight.add_(1)
    for step, decay in ((0, 0.1), (10_000, 0.9)):  # 1 / 10 at first, later the decay itself
        recipe.set_step(step)
        expected = decay * before + (1 - decay) * recipe.network.core.head.weight
        recipe.after_update()
        assert torch.allclose(recipe.teacher.core.head.weight, expected, atol=1e-5)
        before = expected.detach()
    assert not any(parameter.requires_grad for parameter in recipe.teacher.parameters())


def test_the_weight_of_consistency_grows_over_a_share_of_the_steps(make):
    assert [ramp(step, 100) for step in (0, 50, 100, 200)] == pytest.approx([math.exp(-5), math.exp(-1.25), 1, 1])
    assert ramp(0, 0) == 1
    recipe = make("mean_teacher", consistency=2, consistency_rampup=0.5, steps=200)
    recipe.set_step(50)
    assert recipe.weight.item() == pytest.approx(2 * math.exp(-1.25))


def test_pseudo_labels_are_the_likelier_class_of_the_mixture():
    one = torch.tensor([0.9, 0.1]).view(1, 2, 1, 1)
    other = torch.tensor([0.3, 0.7]).view(1, 2, 1, 1)
    # 0.2 * 0.9 + 0.8 * 0.3 = 0.42 of the first class; with shares the other way round 0.78
    assert pseudo_labels(one, other, torch.tensor(0.2)).flatten().tolist() == [0, 1]
    assert pseudo_labels(one, other, torch.tensor(0.8)).flatten().tolist() == [1, 0]
    assert not pseudo_labels(one.requires_grad_(), other, torch.tensor(0.5)).requires_grad


def test_the_dice_of_a_batch_adds_up_its_samples_and_leaves_out_ignored_pixels():
    truth = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    probabilities = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    batch_of = [torch.stack([each, 1 - each], 1).unsqueeze(-1) for each in (probabilities, truth)]
    # The first class: 2 * 1.5 / (2 + 3) = 0.6; the second: 2 * 0.5 / (2 + 1) = 1/3.
    assert batch_dice(*batch_of, None).item() == pytest.approx(1 - (0.6 + 1 / 3) / 2, abs=1e-5)
    known = torch.tensor([[1.0, 1.0], [1.0, 0.0]]).view(2, 1, 2, 1)
    # Without the last pixel: 2 * 1.5 / (2 + 2) = 0.75 and 2 * 0.5 / (1 + 1) = 0.5.
    assert batch_dice(*batch_of, known).item() == pytest.approx(1 - (0.75 + 0.5) / 2, abs=1e-5)


def test_two_branches_share_the_encoder_which_runs_once(make, batch):
    recipe, (images, labels) = make("dual_branch", branch_dropout=0, pseudo_weight=0), batch
    calls = []
    recipe.network.core.encoder.register_forward_hook(lambda *_: calls.append(1))
    first, second = recipe.both(images, unpack(labels)[0]).chunk(2, dim=1)
    assert calls == [1]
    assert torch.equal(first, recipe.network(images, unpack(labels)[0])) and torch.allclose(first, second)
    assert recipe(images, labels).item() == pytest.approx(supervised_loss(make, batch), rel=1e-5)
    own = recipe.state()
    assert sorted(name.split(".", 1)[1] for name in own) == ["core.second.head.bias", "core.second.head.weight"]
    assert len(list(recipe.parameters())) == 6, "each once, and the second head's two"


def test_the_agreement_of_branches_is_the_dice_against_the_pseudo_labels(make, batch):
    recipe, (images, labels) = make("dual_branch", branch_dropout=0, pseudo_weight=2.0), batch
    with torch.no_grad():
        logits = recipe.network(images, unpack(labels)[0])
        p = probabilities_by_hand(logits)
        truth = torch.stack([p.argmax(1) == k for k in range(p.shape[1])], 1).float()
    sums = [(each.transpose(0, 1).flatten(1)).sum(1) for each in (p * truth, p, truth)]
    expected = 1 - ((2 * sums[0] + 1e-6) / (sums[1] + sums[2] + 1e-6)).mean()
    assert recipe(images, labels).item() == pytest.approx(supervised_loss(make, batch) + 2 * expected.item(), rel=1e-4)


def test_the_second_decoder_alone_sees_features_behind_dropout(make, batch):
    recipe, (images, labels) = make("dual_branch", branch_dropout=0.5), batch
    torch.manual_seed(1)
    first, second = recipe.both(images, unpack(labels)[0]).chunk(2, dim=1)
    torch.manual_seed(1)
    core = recipe.network.core
    (features,) = core.encoder(recipe.network.channels(images, unpack(labels)[0]))
    assert torch.allclose(first, core.head(torch.relu(features)), atol=1e-6)
    assert torch.allclose(second, core.head(torch.relu(nn.functional.dropout(features, 0.5))), atol=1e-6)
    assert (first - second).abs().max() > 0.1


def test_the_share_of_the_first_branch_in_pseudo_labels_is_drawn_at_each_step(make, batch, monkeypatch):
    """Decoders that contradict each other, so that the pseudo labels depend on the share."""
    recipe, (images, labels) = make("dual_branch", branch_dropout=0, pseudo_weight=2.0), batch
    with torch.no_grad():
        recipe.both.core.second.head.weight.mul_(-1)
        one, other = recipe.both(images, unpack(labels)[0]).chunk(2, dim=1)
        supervised = (recipe.objective(one, labels, images) + recipe.objective(other, labels, images)) / 2
        p, q = probabilities_by_hand(one), probabilities_by_hand(other)
    shares, real = [], dual_branch.pseudo_labels
    monkeypatch.setattr(dual_branch, "pseudo_labels", lambda *given: shares.append(float(given[2])) or real(*given))
    losses = []
    for seed in range(2):
        torch.manual_seed(seed)
        losses.append(recipe(images, labels).item())
        classes = (shares[seed] * p + (1 - shares[seed]) * q).argmax(1)
        truth = torch.stack([classes == k for k in range(p.shape[1])], 1).float()
        agreement = (batch_dice(p, truth, None) + batch_dice(q, truth, None)) / 2
        assert losses[seed] == pytest.approx((supervised + 2 * agreement).item(), rel=1e-5)
    assert 0 <= min(shares) < max(shares) < 1 and abs(losses[0] - losses[1]) > 1e-3


def test_a_network_without_an_encoder_has_no_second_branch():
    network = ScribbleNetwork(nn.Conv2d(3, 1, 1), [0.0] * 3, [1.0] * 3, 2, "image")
    with pytest.raises(
        UserError, match=r"^recipe = dual_branch, architecture = unet: needs a network with an"
    ) as error:
        build_recipe(small_config(recipe="dual_branch"), network, None, nullcontext)
    assert "\n" not in str(error.value)


def test_ignored_pixels_of_masks_are_in_no_term(make, batch):
    """Where masks are ignored, a change of the teacher's or of the other branch's opinion has no effect."""
    images, _ = batch
    labels = torch.full(images.shape[:3], 15, dtype=torch.uint8)
    labels[:, 0] = 1
    for name in ("mean_teacher", "dual_branch"):
        extra = {"consistency_rampup": 0} if name == "mean_teacher" else {"branch_dropout": 0}
        recipe = make(name, supervision="masks", loss="ce", **extra)
        recipe.set_step(0)
        logits = recipe.predict(images, labels).detach().requires_grad_()
        recipe.predict = lambda *_, logits=logits: logits
        if name == "dual_branch":
            recipe.both.forward = lambda *_, logits=logits: torch.cat([logits, logits], 1)
        recipe(images, labels).backward()
        assert logits.grad[:, :, 0].abs().max() > 0 and logits.grad[:, :, 1:].abs().max() == 0, name


def test_equal_predictions_do_not_disagree():
    p = torch.rand(2, 3, 4, 4).softmax(1)
    assert disagreement(p, p, None).item() == pytest.approx(0, abs=1e-6)
    one, other = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1), torch.tensor([0.6, 0.8]).view(1, 2, 1, 1)
    assert disagreement(one, other, None).item() == pytest.approx(0.4)
    pair = torch.cat([one, one], -1), torch.cat([one, other], -1)
    assert disagreement(*pair, torch.tensor([[[1.0, 0.0]]])).item() == pytest.approx(0, abs=1e-6)


def test_what_a_tidied_prediction_loses_becomes_the_first_class():
    classes = torch.tensor([[1, 1, 0, 1, 0, 2]])
    p = torch.stack([classes == k for k in range(3)], 0).float().unsqueeze(0)
    assert tidied(p).argmax(1).tolist() == [[[1, 1, 0, 0, 0, 2]]]


def test_a_hole_is_a_square_of_the_stated_side_at_any_angle():
    torch.manual_seed(0)
    holes = rotated_squares(400, 64, 96, 0.25, torch.device("cpu"))  # a side of 16 pixels
    areas = holes.flatten(1).sum(1)
    assert areas.max() <= 17**2 and areas.float().median().item() == pytest.approx(256, rel=0.1)
    widths = holes.any(1).sum(1)[areas > 250]
    assert widths.min() <= 17 and widths.max() >= 22, "from upright to diagonal, 16 * sqrt(2)"
    assert not rotated_squares(9, 64, 96, 0.0, torch.device("cpu")).any()


def test_scribbles_in_a_hole_become_background_or_nothing():
    labels = torch.tensor([[[0, 16, 32, 48, 32]]], dtype=torch.uint8)  # none, background and other classes
    hole = torch.tensor([[[True, True, True, True, False]]])
    assert occluded(labels, hole, "background").tolist() == [[[0, 16, 16, 16, 32]]]
    assert occluded(labels, hole, "unlabelled").tolist() == [[[0, 0, 0, 0, 32]]]


def test_cyclemix_adds_the_loss_of_the_mix_and_both_consistencies(make, batch, monkeypatch):
    """Nothing of the other image and no hole: the mix is the image itself, so its loss counts twice."""
    values = {"occlusion_size": 0, "global_consistency": 3, "local_consistency": 0}
    recipe, (images, labels) = make("cyclemix", **values), batch
    monkeypatch.setattr(recipe, "_puzzle", lambda *_: Puzzle(torch.zeros(labels.shape, dtype=torch.bool)))
    twice = 2 * supervised_loss(make, batch)
    assert recipe(images, labels).item() == pytest.approx(twice, rel=1e-5)
    recipe.config = recipe.config.model_copy(update={"local_consistency": 5.0})
    with torch.no_grad():
        logits = recipe.network(images, unpack(labels)[0])
        p = probabilities_by_hand(logits)
    expected = twice + 5 * disagreement(p, tidied(p), None).item()
    assert recipe(images, labels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("transport", ["none", "blocks"])
def test_images_scribbles_and_predictions_are_mixed_alike_and_the_hole_is_cut_out(make, batch, monkeypatch, transport):
    """The upper half shows the image before; with transport, left and right of both images change places."""
    values = {"mix_blocks": 2, "mix_transport": transport, "occlusion": "unlabelled"}
    recipe, (images, labels) = make("cyclemix", local_consistency=0, global_consistency=3, **values), batch
    hole = torch.zeros(labels.shape, dtype=torch.bool)
    hole[:, 10:20, 12:30] = True
    monkeypatch.setattr(cyclemix, "cheapest_grids", lambda _: torch.tensor([[1.0, 1.0], [0.0, 0.0]]).expand(4, 2, 2))
    monkeypatch.setattr(cyclemix, "transported", lambda *_: torch.tensor([[1, 0], [3, 2]]).expand(8, 2, 2))
    monkeypatch.setattr(cyclemix, "rotated_squares", lambda *_: hole)
    seen, real = [], recipe.predict
    monkeypatch.setattr(recipe, "predict", lambda *given: seen.append(given) or real(*given))
    loss = recipe(images, labels)
    (_, _), (mixed, mixed_labels) = seen

    def mix(values):
        moved = values.roll(16, 2) if transport == "blocks" else values
        return torch.cat([moved[:, :16].roll(1, 0), moved[:, 16:]], 1)

    assert mixed.dtype == torch.uint8 and (mixed[hole] == 99).all(), "the mean of the images"
    assert torch.equal(mixed[~hole], mix(images)[~hole])
    assert torch.equal(mixed_labels, mix(labels) * ~hole)
    with torch.no_grad():
        one, other = (recipe.network(*each) for each in ((images, unpack(labels)[0]), (mixed, unpack(mixed_labels)[0])))
        parts = [recipe.objective(one, labels, images), recipe.objective(other, mixed_labels, mixed)]
        expected = mix(probabilities_by_hand(one).permute(0, 2, 3, 1))
        found = probabilities_by_hand(other).permute(0, 2, 3, 1)
        cosine = (found * expected).sum(-1) / (found.norm(dim=-1) * expected.norm(dim=-1))
        parts.append(3 * (1 - cosine)[~hole].mean())
    assert loss.item() == pytest.approx(sum(parts).item(), rel=1e-5)


def test_blocks_are_taken_where_the_normalised_image_is_salient(make, batch):
    """Every image has a gradient in both halves. The smaller one is that of a channel of four times the deviation."""
    recipe, (images, _) = make("cyclemix", mix_blocks=2, mix_beta=0, mix_eta=0), batch
    gradient = torch.zeros(images.shape)
    left, right = gradient[:, :, :16], gradient[:, :, 16:]
    left[0::2, ..., 2] = right[1::2, ..., 2] = 1  # times a deviation of 100
    left[1::2, ..., 0] = right[0::2, ..., 0] = 2  # times one of 25
    other = recipe._puzzle(images, gradient).other
    assert torch.equal(other[0::2, :, 16:], torch.ones(2, 32, 16, dtype=torch.bool)) and not other[0::2, :, :16].any()
    assert torch.equal(other[1::2, :, :16], torch.ones(2, 32, 16, dtype=torch.bool)) and not other[1::2, :, 16:].any()


def test_a_salient_block_moves_to_where_its_image_is_shown(make, batch, monkeypatch):
    """Upper left or lower right; of the image before, the upper right block alone is shown."""
    recipe, (images, _) = make("cyclemix", mix_blocks=2, mix_transport="blocks"), batch
    monkeypatch.setattr(cyclemix, "cheapest_grids", lambda _: torch.tensor([[0.0, 1.0], [0.0, 0.0]]).expand(4, 2, 2))
    gradient = torch.zeros(images.shape)
    gradient[0::2, :16, :16] = gradient[1::2, 16:, 16:] = 1
    mixed = recipe._puzzle(images, gradient).mix(images, -1)
    expected, before = images.clone(), images.roll(1, 0)
    expected[1::2, :16, 16:] = before[1::2, :16, :16]
    expected[0::2, :16, 16:] = before[0::2, 16:, 16:]
    assert torch.equal(mixed, expected)
    # Both blocks that change places cost 2.1 / 4, more than the gain of 1.
    recipe.config = recipe.config.model_copy(update={"mix_transport_cost": 2.1})
    expected[:, :16, 16:] = before[:, :16, 16:]
    assert torch.equal(recipe._puzzle(images, gradient).mix(images, -1), expected)


@pytest.mark.parametrize("name", CHOICES)
def test_a_batch_without_any_label_gives_a_finite_loss_and_gradients(make, batch, name):
    recipe = make(name)
    recipe.set_step(0)
    loss = recipe(batch[0], torch.zeros_like(batch[1]))
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in recipe.network.parameters() if p.grad is not None)
