"""Shared fixtures: a small synthetic data set, decoded once, and configs that train in seconds."""

from __future__ import annotations

import gc
import os
import warnings
from pathlib import Path
from typing import Any

import pytest

os.environ["SCRIBBLE_SEARCH_CACHE"] = ""  # keep tests away from the user's cache
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["OMP_NUM_THREADS"] = "1"  # the tests themselves run in parallel
os.environ["SCRIBBLE_SEARCH_DASHBOARD"] = "0"  # saves a second and 150 MB per launch


def pytest_xdist_auto_num_workers(config: Any) -> int:
    """Half as many again as there are cores, because many tests wait for processes that they have started."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + cores // 2


# The files that take longest, which are started first, so that no worker is left with one of them at the end.
LONG = [
    "search/commands/test_launch",
    "search/engine/test_ray_adapter",
    "search/engine/test_cluster_faults",
    "search/run_storage/test_stored_run",
    "test_benchmarks",
    "search/engine/test_joining_nodes",
    "cluster/connection/test_submission",
    "cluster/doctor/test_doctor",
    "search/engine/test_network_partitions",
    "search/engine/test_driver_crashes",
    "trainable/training/test_resume",
    "trainable/test_commands",
    "trainable/training/test_fold",
    "test_extending",
    "cluster/deployment/test_dashboard",
    "analysis/report/test_report_browser",
    "compatibility/test_first_version",
    "test_tour",
    "search/run_storage/test_stored_training",
    "analysis/ensembles/test_ensemble",
    "search/terminal/test_watch",
    "trainable/training/test_acceleration",
    "analysis/exports/test_export",
    "trainable/storage/test_node_folder",
    "test_python_api",
    "cluster/connection/test_security",
]


def pytest_collection_modifyitems(items: list[Any]) -> None:
    home = Path(__file__).parent
    rank = {home / f"{name}.py": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path, len(LONG)))


SMALL_SPACE = """
name: small
data: {data}
folds: 3
parameters:
  learning_rate: {{values: [1e-3, 1e-2]}}
  encoder: test_resnet
  attention: none
  batch_size: 4
  steps: 2
  evaluations: 1
scheduler: grid
"""


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 20 labelled images of 96x80 and 3 without truth."""
    from trainable.data.synthesize import synthesize

    folder = tmp_path_factory.mktemp("data") / "small"
    synthesize(folder, images=20, test_images=3, width=96, height=80, seed=1)
    return folder


@pytest.fixture(scope="session")
def small_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def small_data(small_folder: Path, small_cache: Path) -> Any:
    from trainable.data.decoded_images import open_data

    return open_data(small_folder, cache=small_cache)


@pytest.fixture(scope="session")
def small_folds(small_data: Any) -> Any:
    from trainable.data.folds import make_folds

    return make_folds(small_data.foreground_shares, 4, seed=0, data_hash=small_data.hash)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, small_folder: Path, small_data: Any) -> Any:
    """A finished run with real models: two tiny configs on three folds, trained by the fold loop without Ray."""
    from search.messages import Entrant, Job, Report
    from search.policies.registry import policy_of
    from search.runs.journal import Journal
    from search.runs.run_folder import FOLDS, Run, record_launch
    from search.runs.study import Study
    from spaces.load import load_space
    from trainable.data.folds import folds_of, save_folds
    from trainable.training.fold import train_fold

    home = tmp_path_factory.mktemp("runs")
    (home / "small.yaml").write_text(SMALL_SPACE.format(data=small_folder))
    space = load_space(str(home / "small.yaml"), [])
    run = Run(home / "small")
    folds = folds_of(small_data, space.settings.folds, space.settings.fold_seed)
    with Journal(run.journal) as journal:
        record_launch(run, space, small_data.hash)
        save_folds(folds, run.folder / FOLDS)
        study = Study(policy_of(space), journal)
        study.begin(host="here", pid=1)
        points = {point.id: point for point in space.configs()}
        for point in points.values():
            run.record_config(point)
            study.add(Entrant(point.id, tuple(point.config.report_steps(point.config.steps)), dict(point.values)))
        while isinstance(job := study.next(), Job):
            folder = run.folder / "configs" / job.config / f"fold_{job.fold}"
            for report in train_fold(points[job.config].config, small_data, folds, job.fold, folder):
                study.report(Report(job.config, job.fold, report.step, report.scores["miou"], report.seconds))
        journal.append("end", reason="every job is done")
    return run


def small_config(**values: Any) -> Any:
    """A config with a tiny encoder: a step of 4 images takes a fraction of a second on one core."""
    from trainable.config import make_config

    defaults = {"encoder": "test_resnet", "batch_size": 4, "steps": 8, "evaluations": 4, "attention": None}
    return make_config({**defaults, **values})


@pytest.fixture(scope="session")
def fork_server() -> Any:
    """Starts programs of this project without importing their libraries each time."""
    from fork_server import ForkServer

    server = ForkServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def object_store_server() -> Any:
    from object_store import ObjectStore

    store = ObjectStore()
    store.start()
    yield store
    store.stop()


@pytest.fixture
def object_store(object_store_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An S3 server with an empty bucket, and credentials for it."""
    from object_store import CREDENTIALS

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    object_store_server.make_bucket()
    yield object_store_server
    object_store_server.empty()
    with warnings.catch_warnings():  # the server leaves closing connections to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
