"""A fold that is killed at any step or during any write resumes with bit-identical results."""

import os
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import small_config
from killed_work import die, run_until_killed
from tiny_networks import tiny_network

from trainable.training import checkpoint
from trainable.training.finish import resumable
from trainable.training.fold import train_fold
from trainable.training.trial import FoldTrial

CONFIG = {"augmentation": "high", "dropout": 0.5, "ema": 0.9, "warmup_steps": 2}


def without_seconds(report):
    return {key: value for key, value in report.as_dict().items() if key != "seconds"}


def run(data, folds, folder, config=None, **options):
    config = config or tiny_network("resunet", steps=8, evaluations=4, **CONFIG)
    reports = train_fold(config, data, folds, 0, folder, **options)
    return {report.step: without_seconds(report) for report in reports}


@pytest.fixture(scope="module")
def undisturbed(small_data, small_folds, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, run(small_data, small_folds, folder)


def assert_same(folder: Path, expected: Path):
    one, other = checkpoint.load(folder / "last.pt"), checkpoint.load(expected / "last.pt")
    assert one["step"] == other["step"] and one["best_step"] == other["best_step"]
    for name, tensor in other["weights"].items():
        assert torch.equal(one["weights"][name], tensor), name
    best, other_best = (checkpoint.load(path / "best.pt")["weights"] for path in (folder, expected))
    assert all(torch.equal(best[name], other_best[name]) for name in other_best)
    pd.testing.assert_frame_equal(*(pd.read_parquet(path / "images.parquet") for path in (folder, expected)))
    metrics = [(path / "metrics.jsonl").read_text().splitlines() for path in (folder, expected)]
    assert len(metrics[0]) == len(metrics[1]) == 4


@pytest.mark.parametrize("step", (1, 2, 5, 7))
def test_killed_at_any_step_it_ends_the_same(small_data, small_folds, tmp_path, undisturbed, fork_server, step):
    # An epoch is 3.75 steps, so most of these are in the middle of one; odd steps lie between two reports.
    options = {"checkpoint_seconds": 0.0 if step % 3 else 1e9}

    def work():
        run(small_data, small_folds, tmp_path, keep_going=lambda done: done < step or die(), **options)

    run_until_killed(fork_server, work)
    folder, expected = undisturbed
    resumed = run(small_data, small_folds, tmp_path)
    assert resumed == {at: expected[at] for at in resumed} and 8 in resumed
    assert_same(tmp_path, folder)


@pytest.mark.parametrize("write", range(1, 6))
def test_killed_in_the_middle_of_a_write_it_ends_the_same(
    small_data, small_folds, tmp_path, undisturbed, fork_server, write
):
    real, count = torch.save, [0]

    def torn(state, file):
        count[0] += 1
        real(state, file)
        if count[0] < write:
            return
        file.flush()
        os.truncate(file.fileno(), os.fstat(file.fileno()).st_size // 2)
        die()

    def work():
        checkpoint.torch.save = torn
        run(small_data, small_folds, tmp_path, checkpoint_seconds=0.0)

    run_until_killed(fork_server, work)
    assert list(tmp_path.glob(".partial-*")), "the write was to be torn"
    run(small_data, small_folds, tmp_path)
    assert not list(tmp_path.glob(".partial-*"))
    assert_same(tmp_path, undisturbed[0])


@pytest.mark.parametrize("rename", range(1, 4))
def test_killed_between_the_renames_of_a_checkpoint_it_ends_the_same(
    small_data, small_folds, tmp_path, undisturbed, fork_server, rename
):
    """The newest checkpoint is written as next.pt, then last becomes previous, then next becomes last."""
    real, count = Path.replace, [0]

    def replace(self, target):
        count[0] += self.name in ("next.pt", "last.pt")
        if count[0] == 2 + rename:
            die()
        return real(self, target)

    def work():
        Path.replace = replace
        run(small_data, small_folds, tmp_path, checkpoint_seconds=0.0)

    run_until_killed(fork_server, work)
    run(small_data, small_folds, tmp_path)
    assert_same(tmp_path, undisturbed[0])


@pytest.mark.parametrize("damage", ["cut short", "one bit", "empty", "text"])
def test_a_damaged_last_checkpoint_falls_back_to_the_previous_one(
    small_data, small_folds, tmp_path, undisturbed, damage, caplog
):
    run(small_data, small_folds, tmp_path, until=5, checkpoint_seconds=0.0)
    path = tmp_path / "last.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"cut short": content[: len(content) // 2], "one bit": content, "empty": b"", "text": b"hello"}
    path.write_bytes(bytes(damaged[damage]))
    first = min(run(small_data, small_folds, tmp_path))
    assert first == 4
    assert "last.pt: is damaged" in caplog.text and "falling back" in caplog.text
    assert_same(tmp_path, undisturbed[0])


def test_when_every_checkpoint_is_damaged_it_starts_again(small_data, small_folds, tmp_path, undisturbed):
    run(small_data, small_folds, tmp_path, until=5, checkpoint_seconds=0.0)
    for name in ("last.pt", "previous.pt"):
        (tmp_path / name).write_bytes(b"")
    run(small_data, small_folds, tmp_path)
    assert_same(tmp_path, undisturbed[0])


def test_a_fold_of_a_run_has_its_weights_once_and_ends_the_same(small_data, small_folds, tmp_path):
    config = small_config(**CONFIG)  # of a size beside which the rest of a checkpoint is small
    folder = tmp_path / "undisturbed"
    expected = run(small_data, small_folds, folder, config)
    options = {"config": config, "checkpoint_seconds": 0.0, "once": True}
    run(small_data, small_folds, tmp_path, until=4, **options)
    paused = (tmp_path / "last.pt").stat().st_size
    assert not (tmp_path / "previous.pt").exists()
    run(small_data, small_folds, tmp_path, until=5, **options)
    between = (tmp_path / "last.pt").stat().st_size
    assert not (tmp_path / "previous.pt").exists()
    resumed = run(small_data, small_folds, tmp_path, **options)
    assert resumed == {at: expected[at] for at in resumed} and 8 in resumed
    best, other = (checkpoint.load(path / "best.pt") for path in (tmp_path, folder))
    weights = sum(tensor.numel() * tensor.element_size() for tensor in best["weights"].values())
    assert all(torch.equal(best["weights"][name], tensor) for name, tensor in other["weights"].items())
    assert (tmp_path / "last.pt").stat().st_size < weights / 10, "the weights of a finished fold are in best.pt alone"
    saved = checkpoint.load(folder / "last.pt")["best_step"] in (4, 5)
    assert 3.9 * weights < paused < (4.3 if saved else 5.3) * weights and between < 5.3 * weights
    assert run(small_data, small_folds, tmp_path, **options) == {8: expected[8]}, "it is finished"


def test_at_its_best_step_a_checkpoint_has_the_best_weights_once(small_data, small_folds, tmp_path):
    def sizes(score):
        folder = tmp_path / str(score)
        trial = FoldTrial(small_config(**CONFIG), small_data, small_folds, 0, torch.device("cpu"))
        trial.evaluate()
        trial.best.step = score  # as if the best weights were those of another step
        trial.save(folder)
        return (folder / "last.pt").stat().st_size

    assert sizes(0) < 0.85 * sizes(-1)


def test_nothing_is_removed_before_a_newer_checkpoint_is_there(small_data, small_folds, tmp_path, caplog):
    run(small_data, small_folds, tmp_path, until=5, checkpoint_seconds=0.0)
    (tmp_path / "last.pt").write_bytes(b"damaged")
    run(small_data, small_folds, tmp_path, until=4, once=True)  # it resumes from the previous one, at step 4
    assert checkpoint.load(tmp_path / "previous.pt")["step"] == 4
    assert 8 in run(small_data, small_folds, tmp_path, once=True)


def test_a_finished_fold_whose_results_are_lost_is_trained_again(small_data, small_folds, tmp_path, undisturbed):
    folder, expected = undisturbed
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    assert list(run(small_data, small_folds, tmp_path)) == [8]
    for lost in ("images.parquet", "scores.json", "best.pt"):
        (tmp_path / lost).rename(tmp_path / "kept")
        assert resumable(tmp_path) is None and f"{lost} of the finished fold are lost" in log_of(tmp_path)
        (tmp_path / "kept").rename(tmp_path / lost)
    assert resumable(tmp_path)["step"] == 8
    (tmp_path / "best.pt").unlink()
    assert run(small_data, small_folds, tmp_path) == expected
    assert_same(tmp_path, folder)


def log_of(folder):
    return (folder / "log.txt").read_text()


def test_a_torn_last_line_of_the_metrics_is_mended(small_data, small_folds, tmp_path, undisturbed):
    run(small_data, small_folds, tmp_path, until=4)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "los')
    run(small_data, small_folds, tmp_path)
    assert_same(tmp_path, undisturbed[0])


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.system, ("touch /tmp/should-never-exist",))

    torch.save({"version": 1, "evil": Evil()}, tmp_path / "last.pt")
    assert checkpoint.load_last(tmp_path) is None
    assert not Path("/tmp/should-never-exist").exists()


def test_a_disk_that_is_full_is_an_error_and_what_was_saved_stays(small_data, small_folds, fork_server, tmp_path):
    """A limit on file size makes the kernel refuse the write in the middle, as a full disk does."""
    import resource

    from trainable.errors import UserError

    run(small_data, small_folds, tmp_path, until=2)
    before = (tmp_path / "last.pt").read_bytes()

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            run(small_data, small_folds, tmp_path)
        except UserError as error:
            if ".pt: cannot be written (File too large)" in str(error):
                die()

    run_until_killed(fork_server, work)
    assert (tmp_path / "last.pt").read_bytes() == before
    assert not list(tmp_path.glob(".partial-*"))
    assert 8 in run(small_data, small_folds, tmp_path)


def test_out_of_memory_is_recognised(small_folder, small_folds, fork_server, tmp_path):
    """The address space is limited to what is in use and a little; a step at this size needs gigabytes."""
    import resource

    from trainable.data.decoded_images import open_data
    from trainable.errors import FoldFailed

    large = open_data(small_folder, (512, 512), cache=tmp_path / "cache")

    def work():
        config = small_config(encoder="resnet18", batch_size=15, size="512x512")
        reports = train_fold(config, large, small_folds, 0, tmp_path / "out")
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + 200_000_000, in_use + 200_000_000))
        try:
            list(reports)
        except FoldFailed as failure:
            if failure.reason == "out_of_memory":
                die()

    run_until_killed(fork_server, work)
    assert '"out_of_memory"' in (tmp_path / "out/error.json").read_text()
