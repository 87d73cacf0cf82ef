"""Who may import whom, read from the imports themselves."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("spaces", "trainable", "search", "cluster", "analysis")
MAY_IMPORT = {
    "trainable": {"trainable"},
    "spaces": {"spaces", "trainable"},
    "search": {"search", "spaces", "trainable", "cluster"},
    "cluster": {"cluster", "trainable"},
    "analysis": {"analysis", "search", "trainable", "spaces"},
}
PURE = (
    "trainable.config",
    "trainable.errors",
    "trainable.folds",
    "trainable.metrics",
    "trainable.dataset",
    "trainable.files",
    "trainable.store",
    "trainable.fetched",
    "trainable.workplace",
    "spaces.load",
    "search.schedulers",
    "search.study",
    "search.growing",
    "search.proposals",
    "search.told",
    "search.status",
    "search.show_plan",
    "search.follow",
    "search.stored_run",
    "search.ledger",
    "search.curves",
    "search.tracking.follow",
    "search.__main__",
    "analysis.effects",
    "analysis.parameters",
    "analysis.bootstrap",
    "spaces.__main__",
    "cluster.__main__",
)
SPACES_STAND_ON = {"commands", "config", "errors", "files", "metrics", "printing"}  # of trainable


def imports(path):
    """(top-level package, line) of every import of a file, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.split(".")[0], node.lineno


def sources(room):
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_it_stands_on(room):
    for path in sources(room):
        for package, line in imports(path):
            assert package not in ROOMS or package in MAY_IMPORT[room], f"{path}:{line} imports {package}"


APPEARS_IN = {
    "ray": {"trainable/ray_trial.py", "search/engine.py"},
    "optuna": {"search/optuna_sampler.py"},
    "sqlalchemy": {"search/optuna_sampler.py"},  # Optuna's own storage: it raises its errors
}


def test_only_the_adapters_know_ray_and_optuna():
    for room in ("trainable", "spaces", "search"):
        for path in sources(room):
            for package, line in imports(path):
                allowed = APPEARS_IN.get(package, {str(path.relative_to(ROOT))})
                assert str(path.relative_to(ROOT)) in allowed, f"{path}:{line} imports {package}"


def test_only_importance_and_nothing_else_of_the_analysis_knows_optuna():
    for path in sources("analysis"):
        for package, line in imports(path):
            assert package != "ray" and (package != "optuna" or path.name == "importance.py"), f"{path}:{line}"


def test_spaces_know_only_the_configuration_of_what_they_are_spaces_of():
    for path in sources("spaces"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "trainable":
                assert node.module.split(".")[-1] in SPACES_STAND_ON, f"{path}:{node.lineno} imports {node.module}"


def test_only_the_ray_adapter_knows_the_machines():
    for path in sources("search"):
        for package, line in imports(path):
            assert package != "cluster" or path.name in ("engine.py", "submit.py"), f"{path}:{line} imports {package}"


@pytest.mark.parametrize("module", PURE)
def test_a_pure_part_loads_without_frameworks(module):
    unwanted = {"torch", "ray", "optuna", "cv2", "statsmodels"}
    code = f"import sys, {module}; sys.exit(' '.join({unwanted} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{module} pulls in {done.stderr.strip()}"


@pytest.mark.parametrize("module", ["trainable.store", "trainable.workplace", "search.stored_run"])
def test_what_knows_object_stores_loads_their_library_only_when_there_is_one(module):
    code = f"import sys, {module}; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_run_on_a_disk_is_found_and_read_without_any_of_it(tmp_path):
    code = (
        f"import sys, search.run_folder as r; r.all_runs({str(tmp_path)!r}); sys.exit('trainable.store' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
