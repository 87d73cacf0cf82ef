"""The worker between jobs and on a shared GPU; the engine has tests of its own."""

import errno
import gc
from functools import partialmethod
from hashlib import sha256

import pytest
import torch
from conftest import small_config
from safetensors.torch import save

from trainable.data.shipment import Shipment
from trainable.errors import UserError, WrongMachine
from trainable.networks.registry import build_network
from trainable.ray_trial import FoldTrial, packed, unpacked
from trainable.storage.shared_file import SharedFile
from trainable.training.trial import FoldTrial as Training

pytestmark = pytest.mark.usefixtures("narrow_decoders")


@pytest.fixture
def job(small_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(small_cache))

    (tmp_path / "journal.jsonl").touch()

    def make(name, **more):
        return {
            "metric": "miou",
            "threads": 1,
            "gpus": 0.0,
            "memory": 1.0,
            "alone": False,
            "values": small_config().model_dump(mode="json"),
            "run": "demo",
            "config_id": "0123456789ab",
            "fold": 0,
            "until": 8,
            "folder": str(tmp_path / name),
            "journal": str(tmp_path / "journal.jsonl"),
            "hang_seconds": 600.0,
            "hang_factor": 20.0,
            **more,
        }

    return make


@pytest.fixture
def worker(small_folder, small_folds):
    """An actor that has what all fold trials of its run are trained on, as Tune gives it."""

    class Worker(FoldTrial):
        setup = partialmethod(FoldTrial.setup, shipment=Shipment(small_folds, small_folder, "train"))

    return lambda job: Worker(packed(job))


def test_a_node_that_does_not_see_a_file_of_weights_fetches_it(job, small_folder, small_folds, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    encoder = build_network(small_config(), [0.0] * 3, [1.0] * 3, seed=5).core.encoder
    content = save({name: tensor.contiguous() for name, tensor in encoder.state_dict().items()})
    file = SharedFile("w.pt", tmp_path / "not here", sha256(content).hexdigest(), lambda: [content[:9], content[9:]])
    sent = Shipment(small_folds, small_folder, "train", weights={"w.pt": file})
    trial = FoldTrial.__new__(FoldTrial)
    values = small_config(encoder_weights="w.pt").model_dump(mode="json")
    trial.setup(packed(job("sent", values=values, until=2)), shipment=sent)
    assert unpacked(trial.step())["step"] == 2
    trial.cleanup()
    assert f"starts from w.pt, sha256 {file.hash}" in (tmp_path / "sent/log.txt").read_text()
    assert [path.read_bytes() for path in (tmp_path / "cache/files").glob(file.hash)] == [content]


def test_a_cache_that_cannot_be_written_is_a_problem_of_the_node_and_not_of_the_config(
    job, worker, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "file/cache"))
    trial = worker(job("first"))
    result = unpacked(trial.step())
    trial.cleanup()
    assert "failed" not in result and result["local"]
    problem = "the cache of decoded images cannot be written (Not a directory)"
    assert result["storage"] == f"{tmp_path}/file/cache: {problem}"


@pytest.mark.parametrize(("path", "local"), [("cache/x", True), ("run/last.pt", False)])
def test_a_full_disk_is_a_problem_of_the_node_if_the_file_is_in_the_cache(
    job, worker, tmp_path, monkeypatch, path, local
):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    trial = worker(job("first"))

    def full():
        raise OSError(errno.ENOSPC, "reason", str(tmp_path / path))
        yield

    trial.reports = full()
    result = unpacked(trial.step())
    assert result["storage"] == f"{tmp_path / path}: cannot be written (reason)" and result["local"] is local
    assert "failed" not in result


def trainings():
    """Fold trials with their networks that are still in memory."""
    return [thing for thing in gc.get_objects() if isinstance(thing, Training)]


def test_an_actor_that_gets_another_job_holds_nothing_of_the_one_before(job, worker):
    gc.unfreeze()
    before = len(trainings())
    actor = worker(job("first"))
    assert gc.get_freeze_count(), "the modules are not searched after each job"
    assert unpacked(actor.step())["step"] == 2 and len(trainings()) == before + 1
    actor.reset_config(packed(job("second")))
    assert len(trainings()) == before
    assert unpacked(actor.step())["step"] == 2 and len(trainings()) == before + 1
    actor.cleanup()
    assert len(trainings()) == before


def test_a_fold_that_ran_out_of_memory_has_released_it_when_it_reports(job, worker, monkeypatch):
    def step(self, images, labels):
        self.circle = self  # as autograd and tracebacks make them
        raise torch.OutOfMemoryError("CUDA out of memory")

    gc.collect()
    before = len(trainings())
    actor = worker(job("first"))
    with monkeypatch.context() as patch:
        patch.setattr(Training, "train_step", step)
        assert unpacked(actor.step())["failed"] == "out_of_memory"
    assert len(trainings()) == before
    actor.reset_config(packed(job("first")))
    assert unpacked(actor.step())["step"] == 2, "the same fold, tried again in the same process"
    actor.cleanup()


@pytest.fixture
def loop(monkeypatch):
    """Takes the fold loop's place, and keeps what each was called with."""
    given = []

    def no_training(*arguments, **more):
        given.append(more)
        yield from ()

    monkeypatch.setattr("trainable.training.fold.train_fold", no_training)
    return given


def test_a_process_is_limited_to_its_share_of_the_gpu_and_releases_unused_memory(job, worker, loop, monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", calls.append)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("empty"))
    monkeypatch.setattr("trainable.machine.device.pick_device", lambda name: torch.device("cpu"))
    actor = worker(job("first", gpus=0.24, memory=0.24))
    actor.step()
    assert calls == [0.24, "empty"]
    actor.reset_config(packed(job("first", gpus=1.0, memory=1.0)))
    actor.step()
    assert calls == [0.24, "empty", "empty", 1.0, "empty"], "one that is alone may take all of it"


def test_a_job_without_a_share_of_a_gpu_stays_on_the_cpu_though_it_sees_all_gpus(job, worker, loop, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share: pytest.fail("took a GPU"))
    worker(job("first", gpus=0.0)).step()
    assert [more["device"] for more in loop] == ["cpu"]


def test_a_gpu_that_does_not_work_is_the_machines_fault_and_not_the_configs(job, worker, loop, monkeypatch):
    def broken(name):
        raise UserError(f"device = {name!r}: cannot be used here (CUDA error: uncorrectable ECC error encountered)")

    monkeypatch.setattr("trainable.machine.device.pick_device", broken)
    with pytest.raises(WrongMachine, match="uncorrectable ECC"):
        worker(job("first", gpus=0.5)).step()
    assert not loop


def test_a_gpu_filled_by_others_is_not_a_crash(job, worker, loop, monkeypatch):
    def full(share):
        raise torch.AcceleratorError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", full)
    assert unpacked(worker(job("first", gpus=0.5)).step())["failed"] == "out_of_memory"
    assert not loop


def test_an_input_pipeline_on_a_gpu_has_as_many_workers_as_the_fold_trial_has_cores(job, worker, loop, monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr("trainable.augmentation.batches.default_workers", lambda device: 8)
    for cores in (1, 3, 16):
        assert unpacked(worker(job("first", threads=cores)).step())["ended"]
    assert [more["workers"] for more in loop] == [1, 3, 8]
    torch.set_num_threads(threads)


def test_a_fold_goes_by_the_metric_of_its_space(job, worker, loop):
    worker(job("first", metric="dice")).step()
    assert [more["metric"] for more in loop] == ["dice"]


def test_a_fold_keeps_its_probabilities_if_its_space_says_so(job, worker, loop):
    worker(job("first", keep_probabilities=True)).step()
    worker(job("second")).step()
    assert [given["keep_probabilities"] for given in loop] == [True, False]


def test_a_machine_that_does_not_see_the_run_refuses_and_leaves_nothing_behind(job, worker, tmp_path):
    actor = worker(job("first", journal=str(tmp_path / "elsewhere/journal.jsonl")))
    with pytest.raises(WrongMachine, match=r"elsewhere/journal.jsonl: does not exist on"):
        actor.step()
    assert not (tmp_path / "first").exists()


def test_a_job_of_a_method_segments_its_fold_until_its_step_and_resumes(job, worker, tmp_path):
    values = {"method": "nearest", "steps": 10, "evaluations": 5}
    actor = worker(job("images", trainable="image", values=values, until=4))
    reports = [unpacked(actor.step()) for _ in range(3)]
    assert [each.get("step") for each in reports] == [2, 4, None] and reports[2]["ended"]
    actor.reset_config(packed(job("images", trainable="image", values=values, until=10)))
    assert [unpacked(actor.step())["step"] for _ in range(4)] == [4, 6, 8, 10]
    actor.cleanup()
    assert (tmp_path / "images/scores.json").exists()


def test_a_method_that_cannot_be_run_is_reported_and_not_retried(job, worker):
    actor = worker(job("images", trainable="image", values={"method": "nearest", "walker_beta": 3.0}))
    result = unpacked(actor.step())
    assert result["failed"] == "refused" and "walker_beta: belongs to method = random_walker" in result["message"]


def test_the_dashboard_names_an_actor_after_the_run_and_its_first_job(job):
    trial = FoldTrial.__new__(FoldTrial)  # Tune's constructor would start the job
    trial.job = job("fold")
    assert repr(trial) == "demo: config 0123456789ab fold 0 first"
