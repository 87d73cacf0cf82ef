"""The installed project contains all of its files and runs from any folder."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("spaces", "trainable", "search", "cluster", "analysis")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of a ``pip install`` without dependencies, which this environment has."""
    target = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", *ROOMS):  # a build writes into its source folder
        (source / name).symlink_to(ROOT / name)
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, source], check=True)
    return target


def run(installed, tmp_path, *command):
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1", "NO_COLOR": "1", "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )


def test_every_file_of_the_packages_is_installed(installed):
    for room in ROOMS:
        kinds = (".py", ".yaml", ".html", ".css", ".js", ".json", ".sh", ".typed")
        files = {path.relative_to(ROOT) for path in (ROOT / room).rglob("*") if path.suffix in kinds}
        for path in (*files, Path("cluster/files/Containerfile")):
            assert (installed / path).exists(), f"{path} is not installed"


@pytest.mark.parametrize("room", ROOMS)
def test_every_program_prints_its_version(installed, tmp_path, room):
    done = run(installed, tmp_path, "-m", room, "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["scribble-search", version_of(installed)]


def version_of(installed):
    (metadata,) = installed.glob("scribble_search-*.dist-info")
    return metadata.name.removeprefix("scribble_search-").removesuffix(".dist-info")


def test_the_console_script_runs_the_five_programs(installed, tmp_path):
    script = str(installed / "bin" / "scribble-search")
    done = run(installed, tmp_path, script, "spaces", "list", "--format", "json")
    assert done.returncode == 0 and "full_grid" in done.stdout, done.stderr
    done = run(installed, tmp_path, script, "cluster", "files", "--format", "json")
    assert done.returncode == 0 and "kuberay-cluster.yaml" in done.stdout, done.stderr
    assert all(room in run(installed, tmp_path, script).stdout for room in ROOMS)


def test_an_unknown_program_is_refused_with_the_list_of_programs(installed, tmp_path):
    done = run(installed, tmp_path, str(installed / "bin" / "scribble-search"), "serch")
    assert done.returncode == 2
    assert "'serch' is none of the programs" in done.stderr and "analysis" in done.stderr


def test_the_installed_package_is_the_one_that_runs(installed, tmp_path):
    done = run(installed, tmp_path, "-c", "import search; print(search.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(installed)
    assert version("scribble-search")
