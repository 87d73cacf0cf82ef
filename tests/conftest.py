"""Shared fixtures: a small synthetic data set, decoded once, and configs that train in seconds."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from small_spaces import CLASS_SPACE, IMAGE_SPACE, SCRIBBLE_SPACE, SMALL_SPACE

# The same examples in each run, and no limits of time, which a busy machine exceeds.
settings.register_profile("tests", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
os.environ["SCRIBBLE_SEARCH_CACHE"] = ""  # keep tests away from the user's cache
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TORCHINDUCTOR_VEC_ISA_OK"] = "1"  # saves the compiler a program that takes seconds to compile
os.environ["OMP_NUM_THREADS"] = "1"  # the tests themselves run in parallel
os.environ["SCRIBBLE_SEARCH_DASHBOARD"] = "0"  # saves a second and 150 MB per launch
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  with Ray's own, workers get hardly any time beside other tests
# Without bytecode each of some hundred processes compiles the project, and each worker of xdist all tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
gc.set_threshold(50_000, 20, 20)  # as the programs do; saves seconds while torch is imported


def pytest_xdist_auto_num_workers(config: Any) -> int:
    """More than there are cores, because many tests wait for processes that they have started."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + min(cores, 4)


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
    "trainable/commands/test_commands",
    "trainable/networks/test_contract",
    "analysis/exports/test_onnx_networks",
    "trainable/training/test_fold",
    "test_extending",
    "cluster/test_running_searches",
    "analysis/report/test_report_browser",
    "compatibility/test_first_version",
    "test_documented_commands",
    "test_tour",
    "search/run_storage/test_stored_training",
    "analysis/ensembles/test_ensemble",
    "search/terminal/test_watch",
    "trainable/training/test_acceleration",
    "analysis/exports/test_export",
    "trainable/storage/test_node_folder",
    "test_python_api",
    "test_examples",
]


def pytest_collection_modifyitems(items: list[Any]) -> None:
    home = Path(__file__).parent
    rank = {home / f"{name}.py": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path, len(LONG)))


@pytest.fixture(scope="module", autouse=True)
def old_objects_are_no_garbage() -> None:
    """Collections of garbage pass over what was there before a file, which takes a second with all modules loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # some modules report what is not released at the end


SMALL_SIZE = (64, 32)  # at which the small data sets are trained: width and height


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 20 labelled images of 96x80 and 3 without truth."""
    from shared_folder import shared_folder

    from trainable.data.synthetic.synthesize import synthesize

    size = {"width": 96, "height": 80}
    return shared_folder(
        tmp_path_factory, "small", lambda folder: synthesize(folder, images=20, test_images=3, seed=1, **size)
    )


@pytest.fixture(scope="session")
def small_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def small_data(small_folder: Path, small_cache: Path) -> Any:
    from trainable.data.decoded_images import open_data

    return open_data(small_folder, SMALL_SIZE, cache=small_cache)


@pytest.fixture(scope="session")
def small_folds(small_data: Any) -> Any:
    from trainable.data.folds import make_folds

    return make_folds(small_data.foreground_shares, 4, seed=0, data_hash=small_data.hash)


@pytest.fixture(scope="session")
def class_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A declared data set of 4 classes: 24 grey slices of 96x80 in 6 volumes."""
    from shared_folder import shared_folder

    from trainable.data.synthetic.synthesize import synthesize

    size = {"width": 96, "height": 80, "grey": True}
    return shared_folder(
        tmp_path_factory,
        "classes",
        lambda folder: synthesize(folder, images=24, test_images=0, seed=1, classes=4, volumes=6, **size),
    )


@pytest.fixture(scope="session")
def class_data(class_folder: Path, small_cache: Path) -> Any:
    from trainable.data.decoded_images import open_data

    return open_data(class_folder, SMALL_SIZE, cache=small_cache)


@pytest.fixture(scope="session")
def class_folds(class_data: Any) -> Any:
    """Three folds of two volumes each."""
    from trainable.data.folds import folds_of

    return folds_of(class_data, 3, seed=0)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, small_cache: Path) -> Any:
    """A copy of a run that one process of the tests trains for all."""
    from shared_folder import shared_folder
    from trained_run import train_run

    from search.runs.run_folder import Run

    def run(name: str, text: str, data: Callable[[], Any]) -> Any:
        folder = shared_folder(tmp_path_factory, f"{name}_run", lambda home: train_run(home, text, data(), small_cache))
        return Run(shutil.copytree(folder / name, tmp_path_factory.mktemp("runs") / name))

    return run


@pytest.fixture(scope="session")
def small_run(trained: Any, small_folder: Path, small_cache: Path) -> Any:
    """A finished run with real models: two tiny configs on three folds."""
    from trainable.data.decoded_images import open_data

    return trained("small", SMALL_SPACE, lambda: open_data(small_folder, cache=small_cache))


@pytest.fixture(scope="session")
def class_run(trained: Any, class_folder: Path, small_cache: Path) -> Any:
    """A finished run on volumes of 4 classes: one config sees images alone, the other one scribbles as well."""
    from trainable.data.decoded_images import open_data

    return trained("classes", CLASS_SPACE, lambda: open_data(class_folder, (64, 64), cache=small_cache))


@pytest.fixture(scope="session")
def scribble_run(trained: Any, tmp_path_factory: pytest.TempPathFactory, class_folder: Path, small_cache: Path) -> Any:
    """A finished run on slices without masks, scored besides on slices with masks, the split ``val``."""
    from shared_folder import shared_folder

    from trainable.data.decoded_images import open_data
    from trainable.data.synthetic.synthesize import synthesize

    def unmasked(folder: Path) -> None:
        shutil.copytree(class_folder, folder)
        shutil.rmtree(folder / "train/ground_truth")
        other = folder.with_name(f"{folder.name}_other")
        synthesize(other, images=6, test_images=0, width=96, height=80, seed=2, classes=4, volumes=2, grey=True)
        (other / "train").rename(folder / "val")
        for name in ("volumes.csv", "groups.csv"):
            (folder / "val" / name).unlink()

    folder = shared_folder(tmp_path_factory, "unmasked", unmasked)
    return trained("scribbles", SCRIBBLE_SPACE, lambda: open_data(folder, (64, 64), cache=small_cache))


@pytest.fixture(scope="session")
def image_run(trained: Any, small_folder: Path) -> Any:
    """A finished run of three methods on single images, of two classes."""
    from trainable.data.image_files import open_files

    return trained("images", IMAGE_SPACE, lambda: open_files(small_folder))


def small_config(**values: Any) -> Any:
    """A config with a tiny encoder: a step of 4 images takes a fraction of a second on one core."""
    from trainable.config import make_config

    defaults = {"encoder": "test_resnet", "batch_size": 4, "steps": 8, "evaluations": 4, "attention": None}
    return make_config({**defaults, **values})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: Any, specs: list[Any]) -> None:
    """Start one fork server for all workers of xdist, from which they are forked themselves."""
    from fork_server import ForkServer

    config.fork_server = ForkServer()
    config.add_cleanup(config.fork_server.stop)
    config.fork_server.fork_workers(specs)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["fork_server"] = str(node.config.fork_server.folder)


@pytest.fixture(scope="session")
def fork_server(request: pytest.FixtureRequest) -> Any:
    """Starts programs of this project without importing their libraries each time."""
    from fork_server import ForkServer

    server = ForkServer(getattr(request.config, "workerinput", {}).get("fork_server"))
    yield server
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()  # while its agents, which the server has forked, are there
    server.stop()


@pytest.fixture
def forking(fork_server: Any) -> Any:
    """What this process starts with ``sys.executable`` or spawns is forked."""
    with fork_server.forking_children():
        yield


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
