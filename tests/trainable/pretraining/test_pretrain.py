"""The stage before training: what it sees, that it resumes exactly, and how it fails."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import small_config
from killed_work import die, run_until_killed
from tiny_networks import tiny_network
from torch import nn

from trainable.data.decoded_images import open_data
from trainable.errors import FoldFailed, UserError
from trainable.networks.registry import ARCHITECTURES, build_network
from trainable.pretraining import pretrain as loop
from trainable.pretraining.dino import Projected, Signs
from trainable.pretraining.pretrain import pretrain
from trainable.pretraining.product import CHECKPOINT, ENCODER, FAILURE, inputs_of, name_of, read_encoder
from trainable.pretraining.stage import Stage
from trainable.pretraining.unlabelled import images_for, open_unlabelled
from trainable.storage.shared_file import open_shared
from trainable.training.trial import FoldTrial

FAST = {
    "pretraining": "dino",
    "pretraining_epochs": 2,
    "pretraining_batch_size": 5,
    "projection_size": 16,
    "local_crops": 1,
    "size": "64x64",
}
CPU = torch.device("cpu")


def dino(**values):
    return small_config(**{**FAST, **values})


@pytest.fixture(scope="module")
def data(small_folder, small_cache):
    return open_data(small_folder, (64, 64), cache=small_cache)


@pytest.fixture(scope="module")
def seen(data, small_folds, small_cache):
    """The images that the stage of fold 0 sees."""
    return images_for(dino(), data, small_folds, 0, small_cache)


@pytest.fixture(scope="module")
def make(seen):
    """Make an encoder in a folder; returns the signs of its epochs and the bytes of the encoder."""

    def run(folder, config=None, images=seen, **options):
        epochs = list(pretrain(config or dino(), images, 0, folder, device="cpu", **options))
        return [epoch.signs for epoch in epochs], _encoder(folder)

    return run


@pytest.fixture(scope="module")
def made(make, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return folder, *make(folder)


def _encoder(folder):
    path = folder / ENCODER
    return path.read_bytes() if path.exists() else None


def test_every_tensor_of_the_encoder_is_made_batch_statistics_included(made):
    folder, signs, _ = made
    assert len(signs) == 2 and not (folder / CHECKPOINT).exists()
    weights = read_encoder(folder)
    own = build_network(dino(), [0.0] * 3, [1.0] * 3, seed=0).core.encoder.state_dict()
    assert {name: tensor.shape for name, tensor in weights.items()} == {n: tensor.shape for n, tensor in own.items()}
    counts = [tensor.item() for name, tensor in weights.items() if name.endswith("num_batches_tracked")]
    assert counts and set(counts) == {2 * 15 // 5}, "the teacher sees its two views together in every step"


def test_the_stage_starts_from_the_weights_that_the_fold_would_start_from(data, seen, small_folds):
    stage, trial = Stage(dino(), seen, 0, CPU), FoldTrial(small_config(size="64x64"), data, small_folds, 0, CPU)
    ours, theirs = stage.student.encoder.state_dict(), trial.network.core.encoder.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_stage_starts_from_a_file_whose_content_is_part_of_its_name(made, make, seen, tmp_path):
    path, names, products = tmp_path / "w.pt", [], [made[2]]
    config = dino(encoder_weights=str(path))
    for seed in (7, 8):
        torch.save(build_network(dino(), seen.mean, seen.std, seed=seed).core.encoder.state_dict(), path)
        names.append(name_of(inputs_of(config, seen, 0, open_shared(str(path)))))
        products.append(make(tmp_path / str(seed), config)[1])
    assert len(set(names)) == 2 and len(set(products)) == 3
    list(pretrain(config, seen, 0, tmp_path / "again", keep_going=lambda step: step < 2))
    (tmp_path / "again" / CHECKPOINT).write_bytes(b"damaged")
    assert make(tmp_path / "again", config)[1] == products[-1]


def test_the_teacher_is_an_average_of_the_student_and_follows_no_gradient(seen):
    stage = Stage(dino(teacher_momentum=0.75), seen, 0, CPU)
    name = "head.0.weight"
    before = stage.teacher.state_dict()[name].clone()
    stage.train_step()
    student, teacher = (each.state_dict()[name] for each in (stage.student, stage.teacher))
    assert not torch.equal(student, before)
    torch.testing.assert_close(teacher, before + 0.25 * (student - before))
    assert all(parameter.grad is None for parameter in stage.teacher.parameters())


def test_the_teacher_has_no_stochastic_depth_and_sees_the_statistics_of_its_batch(seen):
    stage = Stage(dino(encoder="efficientnet-b0"), seen, 0, CPU)
    views = stage._views()

    def outputs(network, seed):
        torch.manual_seed(seed)
        return stage._outputs(network, views[:2])

    assert torch.equal(outputs(stage.teacher, 0), outputs(stage.teacher, 1))
    assert not torch.equal(outputs(stage.student, 0), outputs(stage.student, 1))
    state = stage.teacher.encoder.state_dict()  # its last batch norm is not used
    assert 2 in {state[name].item() for name in state if name.endswith("num_batches_tracked")}


def test_the_directions_rest_in_the_first_epoch(seen):
    stage = Stage(dino(), seen, 0, CPU)
    before = stage.student.directions.detach().clone()
    for _ in range(stage.steps_per_epoch):
        stage.train_step()
    assert torch.equal(stage.student.directions, before)
    stage.train_step()
    assert not torch.equal(stage.student.directions, before)


def test_a_network_without_an_encoder_cannot_be_pretrained(seen, monkeypatch):
    bare = replace(ARCHITECTURES["unet"], build=lambda _, channels: nn.Conv2d(channels.inputs, channels.outputs, 1))
    monkeypatch.setitem(ARCHITECTURES, "unet", bare)
    with pytest.raises(UserError, match=r"^pretraining = dino, architecture = unet: needs a network with an encoder;"):
        Stage(dino(), seen, 0, CPU)


def test_images_too_small_for_the_depth_are_refused(seen):
    with pytest.raises(UserError, match=r"^depth = 6: .* those of images of 64x64 are 32x32$"):
        Stage(tiny_network("unet-plain", depth=6, pretraining="dino"), seen, 0, CPU)


def test_held_out_images_and_all_labels_are_never_seen(made, make, data, small_folds, tmp_path):
    images, rng = np.array(data.images), np.random.default_rng(0)
    held_out = data.indices(small_folds.held_out(0))
    images[held_out] = rng.integers(0, 256, images[held_out].shape, np.uint8)
    other = replace(data, images=images, labels=rng.integers(0, 32, data.labels.shape, np.uint8))
    assert make(tmp_path / "a", images=images_for(dino(), other, small_folds, 0))[1] == made[2]
    images[data.indices(small_folds.training(0))] //= 2
    assert make(tmp_path / "b", images=images_for(dino(), other, small_folds, 0))[1] != made[2]


def test_a_split_without_masks_adds_its_images_alone(data, seen, small_folds, small_cache):
    config = dino(pretraining_data="test1")
    images = images_for(config, data, small_folds, 0, small_cache)
    assert len(images) == len(seen) + 3 and images.batch([0, 17]).shape == (2, 64, 64, 3)
    (added, _) = images.parts[1]
    assert not added.split.scribbles and not added.scribbled.any() and not added.masked.any()
    assert (images.mean, images.std) == (seen.mean, seen.std), "a network of the fold expects the fold's own"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("train", "is the split that is trained on"),
        ("test2", r"has no such split, only test1, train.*Did you mean 'test1'"),
        ("masked", "has ground_truth/; only splits without masks may be added"),
    ],
)
def test_splits_that_cannot_be_added_are_refused(small_folder, small_cache, tmp_path, name, problem):
    (tmp_path / "test1").symlink_to(small_folder / "test1")
    (tmp_path / "train").symlink_to(small_folder / "train")
    if name == "masked":
        (tmp_path / "masked").symlink_to(small_folder / "train")
    with pytest.raises(UserError, match=f"pretraining_data = {name}: .*{problem}"):
        open_unlabelled(open_data(tmp_path, (64, 64), cache=small_cache), name, small_cache)


def test_too_few_images_for_a_batch_are_one_clear_line(data, small_folds):
    with pytest.raises(UserError, match=r"_size = 16: larger than fold 0, which has 15 images to pre-train on$"):
        images_for(dino(pretraining_batch_size=16), data, small_folds, 0)


@pytest.mark.parametrize("step", range(1, 6))
def test_stopped_after_any_step_it_resumes_exactly(made, make, tmp_path, step):
    first, encoder = make(tmp_path, keep_going=lambda done: done < step)
    assert encoder is None and len(first) == step // 3
    rest, encoder = make(tmp_path)
    assert encoder == made[2] and first + rest == made[1]


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e9])
def test_killed_it_resumes_exactly(made, make, seen, fork_server, tmp_path, checkpoint_seconds):
    options = {"checkpoint_seconds": checkpoint_seconds, "keep_going": lambda done: done < 5 or die()}
    run_until_killed(fork_server, lambda: list(pretrain(dino(), seen, 0, tmp_path, device="cpu", **options)))
    assert (tmp_path / CHECKPOINT).exists() == (checkpoint_seconds == 0.0)
    signs, encoder = make(tmp_path)
    assert encoder == made[2] and signs == made[1][-len(signs) :]
    assert len(signs) == (1 if checkpoint_seconds == 0.0 else 2)


def test_dropout_of_an_encoder_resumes_exactly(make, tmp_path, monkeypatch):
    real = Projected.features
    monkeypatch.setattr(Projected, "features", lambda self, inputs: F.dropout(real(self, inputs), 0.5))
    _, expected = make(tmp_path / "undisturbed")
    make(tmp_path / "resumed", keep_going=lambda done: done < 4)
    torch.rand(1)
    assert make(tmp_path / "resumed")[1] == expected


def test_closed_between_epochs_it_resumes_exactly(made, make, seen, tmp_path):
    making = pretrain(dino(), seen, 0, tmp_path, device="cpu")
    assert next(making).number == 1
    making.close()
    assert make(tmp_path) == (made[1][1:], made[2])


def test_a_damaged_checkpoint_or_encoder_is_made_again(made, make, tmp_path, caplog):
    make(tmp_path, keep_going=lambda done: False)
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    assert make(tmp_path)[1] == made[2] and "the stage starts again" in caplog.text
    (tmp_path / ENCODER).write_bytes(made[2][:100])
    assert read_encoder(tmp_path) is None and "is made again" in caplog.text
    assert make(tmp_path)[1] == made[2]


def test_of_two_makers_the_later_one_stops_and_nothing_is_torn(made, seen, tmp_path):
    first, second = (pretrain(dino(), seen, 0, tmp_path, device="cpu", checkpoint_seconds=0.0) for _ in range(2))
    assert next(first).number == next(second).number == 1
    assert [epoch.number for epoch in first] == [2] and _encoder(tmp_path) == made[2]
    written = (tmp_path / ENCODER).stat().st_mtime_ns
    assert list(second) == [] and (tmp_path / ENCODER).stat().st_mtime_ns == written


def test_a_finished_product_is_not_made_again(made, make):
    assert make(made[0]) == ([], made[2])


def test_a_collapse_ends_the_stage_and_is_remembered(make, tmp_path):
    uniform = dino(teacher_temperature=100.0, pretraining_epochs=12, local_crops=0)
    message = r"pre-training has collapsed by epoch 11 of 12: .*same for every image .*entropy 2\.77. of at most 2\.773"
    with pytest.raises(FoldFailed, match=message) as failure:
        make(tmp_path, uniform)
    assert failure.value.reason == "collapsed" and (tmp_path / FAILURE).exists() and not (tmp_path / ENCODER).exists()
    with pytest.raises(FoldFailed, match=message):
        make(tmp_path, uniform, keep_going=lambda done: pytest.fail("the stage was repeated"))


UNIFORM, ONE_HOT = Signs(2.8, 2.772, 2.7725, 16), Signs(0.1, 0.001, 0.002, 16)  # the same for every image


@pytest.mark.parametrize(("epochs", "failed"), [(9, None), (10, 10), (11, 11), (12, 11)])
def test_a_collapse_is_five_epochs_of_the_second_half(seen, monkeypatch, epochs, failed):
    stage = Stage(dino(pretraining_epochs=epochs), seen, 0, CPU)
    monkeypatch.setattr(stage.sums, "signs", lambda: UNIFORM)
    for _ in range((failed or epochs + 1) - 1):
        loop._checked(stage)
    if failed:
        with pytest.raises(FoldFailed, match=f"by epoch {failed} of {epochs}"):
            loop._checked(stage)


@pytest.mark.parametrize(("signs", "advice"), [(UNIFORM, "lower"), (ONE_HOT, "higher")])
def test_the_advice_depends_on_the_kind_of_collapse(seen, monkeypatch, signs, advice):
    stage = Stage(dino(pretraining_epochs=5), seen, 0, CPU)
    monkeypatch.setattr(stage.sums, "signs", lambda: signs)
    monkeypatch.setattr(loop, "PATIENCE", 1)
    with pytest.raises(FoldFailed, match=f"try a {advice} teacher_temperature"):
        for _ in range(5):
            loop._checked(stage)


def test_a_stage_that_learns_does_not_count_as_collapsed(make, tmp_path):
    signs, encoder = make(tmp_path, dino(pretraining_epochs=12, local_crops=0))
    assert encoder is not None and not all(each.collapsed for each in signs[-5:])


def test_a_loss_that_is_not_finite_is_a_failure(make, tmp_path):
    with pytest.raises(FoldFailed, match="the pre-training loss is nan in epoch 1") as failure:
        make(tmp_path, dino(pretraining_learning_rate=1e30), checkpoint_seconds=0.0)
    assert failure.value.reason == "nan" and (tmp_path / FAILURE).exists()
    assert not (tmp_path / CHECKPOINT).exists(), "another attempt starts again"


def test_memory_that_runs_out_is_not_remembered(make, seen, tmp_path, monkeypatch):
    def full(stage):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(Stage, "train_step", full)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        with pytest.raises(FoldFailed, match=f"^out of memory on {device} in pre-training"):
            list(pretrain(dino(), seen, 0, tmp_path))
    assert make(tmp_path)[1] is not None


def test_the_device_is_waited_for_once_per_epoch(seen, tmp_path, monkeypatch):
    waits = []
    for name in ("tolist", "item", "cpu", "numpy", "__bool__", "__float__"):
        real = getattr(torch.Tensor, name)

        def wait(tensor, *arguments, real=real, name=name):
            waits.append(name)
            return real(tensor, *arguments)

        monkeypatch.setattr(torch.Tensor, name, wait)
    making = pretrain(dino(), seen, 0, tmp_path, device="cpu")
    next(making)
    assert waits == ["tolist"]


@pytest.mark.parametrize(
    ("signs", "collapsed"),
    [
        (UNIFORM, True),
        (ONE_HOT, True),
        (Signs(2.9, 1.5, 1.504, 16), True),  # between the two, the same for every image
        (Signs(0.1, 0.001, 2.7, 16), False),  # one-hot, and another one for each image
        (Signs(2.8, 2.5, 2.75, 16), False),
    ],
)
def test_a_collapse_is_an_output_that_does_not_depend_on_the_image(signs, collapsed):
    assert signs.collapsed is collapsed


def test_the_folder_says_what_the_encoder_was_made_of(made, seen):
    import json

    inputs = json.loads((made[0] / loop.INPUTS).read_text())
    assert inputs == json.loads(json.dumps(inputs_of(dino(), seen, 0))) and name_of(inputs).isalnum()
