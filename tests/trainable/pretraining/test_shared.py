"""The product of a stage: its name, where it is found, and fold trials that start from it."""

import json
from functools import partialmethod

import pytest
import torch
from conftest import small_config

from trainable.config import Config
from trainable.config.stages import AFTER_PRETRAINING
from trainable.data.decoded_images import open_data
from trainable.data.shipment import Shipment
from trainable.errors import FoldFailed, UserError
from trainable.networks.registry import build_network
from trainable.pretraining.product import CHECKPOINT, ENCODER, inputs_of, name_of
from trainable.pretraining.shared import pretrained_encoder
from trainable.pretraining.unlabelled import images_for
from trainable.ray_trial import FoldTrial, packed, unpacked
from trainable.storage.object_store import Store
from trainable.training.checkpoint import load
from trainable.training.fold import train_fold

pytestmark = pytest.mark.usefixtures("narrow_decoders")

FAST = {
    "pretraining": "dino",
    "pretraining_epochs": 2,
    "pretraining_batch_size": 5,
    "projection_size": 16,
    "local_crops": 0,
    "size": "64x64",
    "steps": 2,
    "evaluations": 1,
}
# A value other than the default for every hyperparameter that must not matter.
OTHER = {
    "attention": "scse",
    "dropout": 0.4,
    "loss": "dice",
    "lambda_region": 0.5,
    "lambda_bce": 0.5,
    "pc": 1.0,
    "class_weights": "1,2",
    "supervision": "scribbles",
    "augmentation": "high",
    "batch_size": 2,
    "learning_rate": 1e-3,
    "encoder_learning_rate": 0.5,
    "final_learning_rate": 1e-5,
    "warmup_steps": 1,
    "weight_decay": 0.1,
    "gradient_clip": 0.0,
    "ema": 0.0,
    "steps": 3,
    "evaluations": 2,
    "patience": 1,
    "acceleration": "none",
    "tau": 0.4,
    "alpha": 0.3,
    "tversky_alpha": 0.5,
    "tversky_beta": 0.5,
    "lambda_focal": 1.0,
    "focal_gamma": 1.0,
    "focal_alpha": 0.5,
    "objective": "wpce",
    "border": 0.1,
    "lambda_crf": 0.1,
    "crf_radius": 3,
    "crf_sigma_xy": 3.0,
    "crf_sigma_intensity": 0.2,
    "lambda_entropy": 0.1,
    "lambda_tv": 0.1,
    "lambda_ms": 0.1,
    "recipe": "mixup",
    "mix_alpha": 1.0,
    "teacher_decay": 0.9,
    "input_noise": 0.2,
    "consistency": 1.0,
    "consistency_rampup": 0.1,
    "branch_dropout": 0.1,
    "pseudo_weight": 1.0,
    "mix_blocks": 2,
    "mix_beta": 1.0,
    "mix_gamma": 1.0,
    "mix_eta": 1.0,
    "mix_transport": "blocks",
    "mix_transport_cost": 0.5,
    "occlusion": "unlabelled",
    "occlusion_size": 0.3,
    "global_consistency": 1.0,
    "local_consistency": 1.0,
}
SCRIBBLES = {"supervision": "scribbles"}
CYCLEMIX = {"recipe": "cyclemix", "supervision": "scribbles"}
# Hyperparameters that exist only beside a value of another one.
BESIDE = {
    "alpha": {"loss": "dice+bce"},
    "mix_alpha": {"recipe": "mixup"},
    **{key: {"loss": "tversky"} for key in ("tversky_alpha", "tversky_beta")},
    **{
        key: {"recipe": "mean_teacher"} for key in ("teacher_decay", "input_noise", "consistency", "consistency_rampup")
    },
    **{key: {"recipe": "dual_branch"} for key in ("branch_dropout", "pseudo_weight")},
    **dict.fromkeys(("mix_blocks", "mix_beta", "mix_gamma", "mix_eta", "occlusion", "occlusion_size"), CYCLEMIX),
    **dict.fromkeys(("mix_transport", "global_consistency", "local_consistency"), CYCLEMIX),
    "mix_transport_cost": {**CYCLEMIX, "mix_transport": "blocks"},
    **dict.fromkeys(("objective", "lambda_crf", "crf_radius", "crf_sigma_xy", "crf_sigma_intensity"), SCRIBBLES),
    **dict.fromkeys(("lambda_entropy", "lambda_tv", "lambda_ms"), SCRIBBLES),
    "border": {**SCRIBBLES, "inputs": "image"},
}


def dino(**values):
    return small_config(**{**FAST, **values})


@pytest.fixture(scope="module")
def data(small_folder, small_cache):
    return open_data(small_folder, (64, 64), cache=small_cache)


@pytest.fixture(scope="module")
def find(data, small_folds, small_cache):
    """Find or make the encoder of a fold; returns the numbers of the epochs that were made here and the weights."""

    def run(folder, root, config=None, fold=0, **options):
        making = pretrained_encoder(
            config or dino(), data, small_folds, fold, folder, root, cache=small_cache, device="cpu", **options
        )
        epochs = []
        while True:
            try:
                epochs.append(next(making).number)
            except StopIteration as end:
                return epochs, end.value

    return run


@pytest.fixture(scope="module")
def name(data, small_folds, small_cache):
    def of(config, fold=0):
        return name_of(inputs_of(config, images_for(config, data, small_folds, fold, small_cache), fold))

    return of


@pytest.mark.parametrize("changed", sorted(AFTER_PRETRAINING))
def test_configs_that_differ_in_what_comes_later_share_the_encoder(name, changed):
    beside = BESIDE.get(changed, {})
    config, usual = dino(**{changed: OTHER[changed]}, **beside), dino(inputs=beside.get("inputs", dino().inputs))
    assert getattr(config, changed) != getattr(usual, changed) and name(config) == name(usual)


def test_what_is_shared_starts_from_the_same_weights():
    def initial(**values):
        return build_network(dino(**values), [0.0] * 3, [1.0] * 3, seed=0).core.encoder.state_dict()

    first, other = initial(), initial(attention="scse", dropout=0.4)
    assert all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize(
    "changed",
    [
        {"encoder": "resnet18"},
        {"inputs": "image"},
        {"size": "96x64"},
        {"seed": 1},
        {"precision": "bf16"},
        {"pretraining_epochs": 3},
        {"pretraining_batch_size": 4},
        {"pretraining_learning_rate": 1e-3},
        {"pretraining_data": "test1"},
        {"student_temperature": 0.2},
        {"teacher_temperature": 0.02},
        {"teacher_momentum": 0.5},
        {"local_crops": 1},
        {"projection_size": 17},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_configs_that_differ_in_what_matters_do_not(small_folder, small_folds, small_cache, name, changed):
    config = dino(**changed)
    data = open_data(small_folder, config.size, cache=small_cache)
    images = images_for(config, data, small_folds, 0, small_cache)
    assert name_of(inputs_of(config, images, 0)) != name(dino())


def test_every_fold_has_an_encoder_of_its_own(name):
    assert len({name(dino(), fold) for fold in range(4)}) == 4


def test_every_hyperparameter_of_the_stage_belongs_to_it():
    with pytest.raises(UserError, match="local_crops: belongs to pretraining = dino; here pretraining is none"):
        small_config(local_crops=2)
    assert small_config(pretraining="none").id == small_config().id
    assert "pretraining" not in Config().model_dump() and dino().id != small_config(size="64x64", steps=2).id


def test_it_is_made_once_and_found_by_other_configs(find, name, tmp_path):
    epochs, weights = find(tmp_path / "a", tmp_path)
    assert epochs == [1, 2]
    log = (tmp_path / "a/log.txt").read_text()
    assert "pre-training, epoch 2 of 2: loss" in log and f"starts from the pre-trained encoder {name(dino())}" in log
    again, found = find(tmp_path / "b", tmp_path, dino(loss="dice", learning_rate=1e-4))
    assert again == [] and all(torch.equal(weights[key], found[key]) for key in weights)
    assert [path.name for path in (tmp_path / "pretraining").iterdir()] == [name(dino())]


def test_a_failed_stage_is_an_error_of_the_fold(find, tmp_path):
    with pytest.raises(FoldFailed, match="nan in epoch 1"):
        find(tmp_path / "a", tmp_path, dino(pretraining_learning_rate=1e30))
    error = json.loads((tmp_path / "a/error.json").read_text())
    assert error["reason"] == "nan" and "failed: the pre-training loss is nan" in (tmp_path / "a/log.txt").read_text()


def test_a_fold_starts_from_it_and_does_not_need_it_again(find, data, small_folds, tmp_path):
    config = dino(learning_rate=1e-12, weight_decay=0.0, ema=0.9)
    with pytest.raises(UserError, match="pretraining = dino: this fold has no pre-trained encoder to start from"):
        next(train_fold(config, data, small_folds, 0, tmp_path / "none"))
    _, encoder = find(tmp_path / "fold", tmp_path)
    options = {"device": "cpu", "workers": 0}
    assert list(train_fold(config, data, small_folds, 0, tmp_path / "fold", until=1, encoder=encoder, **options)) == []
    state = load(tmp_path / "fold/last.pt")
    for key, tensor in encoder.items():
        if "running" not in key and "tracked" not in key:
            torch.testing.assert_close(state["network"][f"core.encoder.{key}"], tensor)
            torch.testing.assert_close(state["weights"][f"core.encoder.{key}"], tensor)  # averaged
    (report,) = train_fold(config, data, small_folds, 0, tmp_path / "fold", **options)
    assert report.finished


def test_weights_of_another_encoder_are_refused(find, data, small_folds, tmp_path):
    _, encoder = find(tmp_path / "fold", tmp_path)
    config = dino(encoder="resnet18")
    with pytest.raises(UserError, match=r"weights of another encoder: missing: conv1.weight, .* and \d+ more$"):
        next(train_fold(config, data, small_folds, 0, tmp_path / "other", device="cpu", encoder=encoder))


@pytest.fixture
def job(small_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(small_cache))
    (tmp_path / "journal.jsonl").touch()

    def make(config, **more):
        return packed(
            {
                "metric": "miou",
                "threads": 1,
                "gpus": 0.0,
                "memory": 1.0,
                "values": config.model_dump(mode="json"),
                "run": "demo",
                "config_id": config.id,
                "fold": 0,
                "until": 2,
                "folder": str(tmp_path / "configs" / config.id / "fold_0"),
                "journal": str(tmp_path / "journal.jsonl"),
                "hang_seconds": 600.0,
                "hang_factor": 20.0,
                **more,
            }
        )

    return make


@pytest.fixture
def worker(small_folder, small_folds):
    class Worker(FoldTrial):
        setup = partialmethod(FoldTrial.setup, shipment=Shipment(small_folds, small_folder, "train"))

    return Worker


def _results(actor):
    results = []
    while not results or not ("ended" in results[-1] or "failed" in results[-1]):
        results.append({key: value for key, value in unpacked(actor.step()).items() if key != "node"})
    return results


def test_a_worker_makes_it_before_training_and_another_config_finds_it(job, worker, tmp_path):
    actor = worker(job(dino()))
    first, second, ready, trained, _ = _results(actor)
    assert [first["pretraining"]["epoch"], second["pretraining"]["epoch"]] == [1, 2]
    assert first["pretraining"]["ready"] is False and ready["pretraining"]["ready"] is True
    assert ready["pretraining"]["seconds"] == second["pretraining"]["seconds"] > 0
    assert trained["step"] == 2 and trained["finished"]
    assert trained["seconds"] < 60 and list((tmp_path / "pretraining").glob(f"*/{ENCODER}"))
    actor.reset_config(job(dino(loss="dice")))
    ready, trained, _ = _results(actor)
    assert ready["pretraining"] == {"ready": True, "seconds": 0.0} and trained["step"] == 2
    actor.reset_config(job(dino(loss="dice")))
    trained, _ = _results(actor)
    assert trained["step"] == 2, "a fold with a checkpoint does not ask for the encoder"


def test_a_worker_reports_a_failed_stage_like_any_failure(job, worker):
    (failed,) = _results(worker(job(dino(pretraining_learning_rate=1e30))))
    assert failed == {"failed": "nan", "message": "the pre-training loss is nan in epoch 1"}
    (refused,) = _results(worker(job(dino(pretraining_batch_size=40))))
    assert refused["failed"] == "refused" and refused["message"].startswith("pretraining_batch_size = 40: larger than")


STORED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of the server of the tests


@STORED
def test_in_an_object_store_it_is_made_once_and_resumed_on_another_node(
    find, object_store, name, tmp_path, monkeypatch
):
    def node(which):
        monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / which))

    root, product = Store(object_store.url("runs/demo")), f"runs/demo/pretraining/{name(dino())}"
    node("first")
    epochs, weights = find(tmp_path / "a", root, keep_going=lambda step: step < 4)
    assert (epochs, weights) == ([1], None)
    node("second")
    epochs, weights = find(tmp_path / "b", root)
    assert epochs == [2] and {f"{product}/{ENCODER}", f"{product}/inputs.json"} == set(object_store.names(product))
    node("third")
    assert find(tmp_path / "c", root)[0] == [] and not list((tmp_path / "third").rglob(CHECKPOINT))
    _, undisturbed = find(tmp_path / "d", tmp_path)
    assert all(torch.equal(weights[key], undisturbed[key]) for key in weights)


@STORED
def test_a_failure_and_a_damaged_encoder_in_an_object_store(find, object_store, name, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "node"))
    root, wrong = Store(object_store.url("runs/demo")), dino(pretraining_learning_rate=1e30)
    find(tmp_path / "a", root, wrong, keep_going=lambda step: step < 1)
    assert root.under("pretraining", name(wrong)).entry(CHECKPOINT) is not None
    for _ in range(2):
        with pytest.raises(FoldFailed, match="nan in epoch 1"):
            find(tmp_path / "a", root, wrong)
    assert root.under("pretraining", name(wrong)).entry("failure.json") is not None
    assert root.under("pretraining", name(wrong)).entry(CHECKPOINT) is None
    root.under("pretraining", name(dino())).write(ENCODER, b"damaged")
    epochs, weights = find(tmp_path / "b", root)
    assert epochs == [1, 2] and weights is not None
