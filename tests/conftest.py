"""What many tests share: one small synthetic data set, decoded once, and configurations that train in seconds."""

from __future__ import annotations

import gc
import os
import warnings
from pathlib import Path
from typing import Any

import pytest

os.environ["SCRIBBLE_SEARCH_CACHE"] = ""  # no test reads or writes a user's cache by accident
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["OMP_NUM_THREADS"] = "1"  # the tests themselves run in parallel
os.environ["SCRIBBLE_SEARCH_DASHBOARD"] = "0"  # a second and 150 MB for each launch


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


def small_config(**values: Any) -> Any:
    """A configuration of a tiny encoder: a step of 4 images takes a fraction of a second on one core."""
    from trainable.config import make_config

    defaults = {"encoder": "mobilenetv3_small_050", "batch_size": 4, "steps": 8, "evaluations": 4, "attention": None}
    return make_config({**defaults, **values})


@pytest.fixture(scope="session")
def object_store_server() -> Any:
    from object_store import ObjectStore

    store = ObjectStore()
    store.start()
    yield store
    store.stop()


@pytest.fixture
def object_store(object_store_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An S3 with an empty bucket, and the right to use it."""
    from object_store import CREDENTIALS

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    object_store_server.make_bucket()
    yield object_store_server
    object_store_server.empty()
    with warnings.catch_warnings():  # connections that its server has left to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
