"""The order of imports between and within packages, read from the import statements."""

import ast
import re
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
    "trainable.data.folds",
    "trainable.objectives.metrics",
    "trainable.data.dataset",
    "trainable.storage.atomic_files",
    "trainable.storage.object_store",
    "trainable.storage.cached_copies",
    "trainable.storage.node_folder",
    "spaces.load",
    "search.policies.registry",
    "search.runs.study",
    "search.samplers.growing_study",
    "search.samplers.proposals",
    "search.samplers.config_outcome",
    "search.runs.status",
    "search.planning.plan_output",
    "search.terminal.watch",
    "search.run_storage.stored_run",
    "search.runs.ledger",
    "search.replay.run_curves",
    "search.tracking.sync",
    "search.__main__",
    "search.api",
    "analysis.statistics.expected_scores",
    "analysis.statistics.parameter_effects",
    "analysis.statistics.bootstrap",
    "spaces.__main__",
    "cluster.__main__",
)
# Within a package, a sub-package or module imports only from the lines above its own.
FLOORS = {
    "trainable": [
        {"errors", "printing"},
        {"exit_codes", "storage"},
        {"config"},
        {"data", "machine"},
        {"augmentation", "checks", "networks", "objectives"},
        {"recipes"},
        {"training"},
        {"images", "pretraining", "progress", "scripted"},
        {"preflight"},
        {"fit_session", "jobs"},
        {"fit", "fit_images", "ray_trial"},
        {"commands"},
        {"__main__"},
    ],
    "spaces": [{"shipped", "yaml_file"}, {"schema"}, {"space"}, {"configspace", "load", "summary"}, {"__main__"}],
    "search": [
        {"messages"},
        {"race"},
        {"policies"},
        {"runs"},
        {"engine", "run_storage", "samplers"},
        {"replay", "terminal", "tracking"},
        {"planning"},
        {"commands"},
        {"__main__", "api", "console"},
    ],
    "cluster": [
        {"deployment", "worker_start"},
        {"connection"},
        {"capacity"},
        {"preparation", "doctor"},
        {"target"},
        {"__main__"},
    ],
    "analysis": [
        {"statistics"},
        {"answer", "refinement"},
        {"ensembles"},
        {"exports", "report", "tuning"},
        {"live"},
        {"__main__"},
    ],
}
MAX_FILES = 12  # per folder
SPACES_IMPORT = {"exit_codes", "config", "errors", "files", "metrics", "printing"}  # modules of trainable


def imports(path):
    """(top-level package, line) of every import of a file, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.split(".")[0], node.lineno


def imported_modules(path, modules):
    """(module of the project, line) of every import of a file, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in modules or node.module in modules:
                    yield (name if name in modules else node.module), node.lineno


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(room):
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_imports_only_the_allowed_packages(room):
    for path in sources(room):
        for package, line in imports(path):
            assert package not in ROOMS or package in MAY_IMPORT[room], f"{path}:{line} imports {package}"


def test_the_floors_list_everything_in_a_package():
    for room in ROOMS:
        there = {path.relative_to(ROOT / room).parts[0].removesuffix(".py") for path in sources(room)} - {"__init__"}
        assert there == set().union(*FLOORS[room]), room


@pytest.mark.parametrize("room", ROOMS)
def test_a_floor_imports_only_lower_floors(room):
    modules = {module_name(path) for path in sources(room)}
    floor_of = {name: number for number, names in enumerate(FLOORS[room]) for name in names}
    for path in sources(room):
        here = module_name(path).split(".")[1:2]
        for module, line in imported_modules(path, modules) if here else ():
            there = module.split(".")[1:2]
            if there and there != here:
                assert floor_of[there[0]] < floor_of[here[0]], f"{path}:{line} imports {module}"


def test_there_are_no_import_cycles():
    paths = {module_name(path): path for room in ROOMS for path in sources(room)}
    graph = {name: {module for module, _ in imported_modules(path, paths)} - {name} for name, path in paths.items()}
    while ready := [name for name, needed in graph.items() if not needed & graph.keys()]:
        for name in ready:
            del graph[name]
    assert not graph, "import cycles, with the files that depend on them"


@pytest.mark.parametrize("room", ROOMS)
def test_every_folder_has_a_docstring_and_few_files(room):
    for folder in {path.parent for path in sources(room)}:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), f"{folder} has no docstring"
        assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= MAX_FILES, folder


APPEARS_IN = {
    "ray": {"trainable/ray_trial.py", "search/engine/ray_adapter.py"},
    "optuna": {"search/samplers/optuna_adapter.py"},
    "sqlalchemy": {"search/samplers/optuna_adapter.py"},  # Optuna's storage raises its errors
    "h5py": {"trainable/data/importers/acdc_h5.py"},
    "nibabel": {"trainable/data/importers/nifti.py"},
    "transformers": {"trainable/networks/cores/sam.py"},
}


def test_only_the_adapters_import_their_packages():
    for room in ("trainable", "spaces", "search"):
        for path in sources(room):
            for package, line in imports(path):
                allowed = APPEARS_IN.get(package, {str(path.relative_to(ROOT))})
                assert str(path.relative_to(ROOT)) in allowed, f"{path}:{line} imports {package}"


def test_the_importers_are_above_the_rest_of_the_data():
    modules = {module_name(path) for path in sources("trainable")}
    importers = ROOT / "trainable/data/importers"
    for path in sources("trainable"):
        if not path.is_relative_to(importers) and path.parent.name != "commands":
            for module, line in imported_modules(path, modules):
                assert not module.startswith("trainable.data.importers"), f"{path}:{line} imports {module}"


def test_only_importance_in_the_analysis_imports_optuna():
    for path in sources("analysis"):
        for package, line in imports(path):
            assert package != "ray" and (package != "optuna" or path.name == "importance.py"), f"{path}:{line}"


def test_spaces_import_only_the_configuration_of_trainable():
    for path in sources("spaces"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "trainable":
                assert node.module.split(".")[-1] in SPACES_IMPORT, f"{path}:{node.lineno} imports {node.module}"


def test_only_the_ray_adapter_and_submit_import_cluster():
    for path in sources("search"):
        for package, line in imports(path):
            assert package != "cluster" or path.name in ("ray_adapter.py", "submit.py"), (
                f"{path}:{line} imports {package}"
            )


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_loads_without_frameworks(module):
    unwanted = {"torch", "ray", "optuna", "cv2", "statsmodels"}
    code = f"import sys, {module}; sys.exit(' '.join({unwanted} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{module} imports {done.stderr.strip()}"


@pytest.mark.parametrize(
    "module", ["trainable.storage.object_store", "trainable.storage.node_folder", "search.run_storage.stored_run"]
)
def test_the_library_for_object_stores_is_loaded_only_when_needed(module):
    code = f"import sys, {module}; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_run_on_a_disk_is_found_without_the_object_store_module(tmp_path):
    code = (
        f"import sys, search.run_storage.find_runs as r; r.all_runs({str(tmp_path)!r}); "
        "sys.exit('trainable.storage.object_store' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


PAGE = (ROOT / "docs" / "architecture.md").read_text()


@pytest.mark.parametrize("room", ROOMS)
def test_the_architecture_page_shows_the_floors_in_their_order(room):
    (row,) = re.findall(rf"^\| `{room}` \| (.*) \|$", PAGE, re.M)
    assert [{name.strip("`/") for name in floor.split()} for floor in row.split("→")] == FLOORS[room]


def test_the_architecture_page_names_files_that_exist():
    (table,) = re.findall(r"## Where to make a change\n(.*)", PAGE, re.S)
    named = re.findall(r"`((?:spaces|trainable|search|cluster|analysis)/[\w/.]*)`", table)
    assert len(named) >= 10 and all((ROOT / name).exists() for name in named), named
