"""A run with a plugin: the file travels with it, and is executed elsewhere only after the user has named it there."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from plugin_files import executions, forget, write_plugin
from trained_run import train_run

from analysis import load_ensemble
from analysis.ensembles.assemble import assemble
from analysis.exports.export import export
from search.commands.launch import _shipment
from search.commands.launch_record import check_run
from search.commands.run_commands import list_runs
from search.run_storage.stored_run import _top_level_files
from search.runs.run_folder import Run
from search.runs.run_tables import read_run
from spaces.load import load_space
from spaces.yaml_file.problems import SpaceError
from trainable.config import copy_plugins, make_config
from trainable.errors import UserError
from trainable.jobs import train
from trainable.printing import Format
from trainable.storage.checked_json import read_checked, write_checked

SPACE = """
name: plugged
data: {data}
plugins: PLUGIN
folds: 2
parameters:
  architecture: tiny
  tiny_width: {{values: [2, 3]}}
  loss: gap
  slope: 1.5
  batch_size: 8
  steps: 1
  evaluations: 1
scheduler: grid
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("plugged")


@pytest.fixture(autouse=True, scope="module")
def here(home):
    """The machine that the run was launched on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCRIBBLE_SEARCH_CACHE", str(home / "cache"))
        yield


@pytest.fixture(scope="module")
def run(home, here, small_data, small_cache):
    text = SPACE.replace("PLUGIN", str(write_plugin(home)))
    return train_run(home, text, small_data, small_cache)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Another machine, in a new process."""
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "elsewhere"))
    forget()


def space_of(home, *overrides):
    return load_space(home / "space_file.yaml", overrides)


def test_the_file_is_copied_into_the_run_and_its_hash_recorded(run, home):
    plugin = home / "parts.py"
    assert (run.folder / "parts.py").read_bytes() == plugin.read_bytes()
    (used,) = run.space().settings.plugins
    assert read_checked(run.folder / "space.yaml")["plugins"] == {"parts.py": used.hash}
    assert run.environment()["code"]["plugin parts.py"] == used.hash
    assert run.space() == replace(space_of(home), settings=run.space().settings)


def test_a_run_is_resumed_with_its_own_copy_and_refused_with_a_changed_file(run, home, tmp_path):
    hashed = run.environment()["data_hash"]
    check_run(load_space(run.folder / "space.yaml"), run, hashed, force_code=False)
    changed = space_of(home, f"plugins={write_plugin(tmp_path, channels='layers')}")
    with pytest.raises(UserError, match=r"the code has changed since it was launched \(plugin parts.py\); --force"):
        check_run(changed, run, hashed, force_code=False)
    check_run(changed, run, hashed, force_code=True)


def test_a_job_trains_on_a_node_that_never_saw_the_plugin(run, home, small_data, tmp_path, monkeypatch):
    point = load_space(home / "space_file.yaml").configs()[0]
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "node"))
    shipment = _shipment(load_space(home / "space_file.yaml"), run, small_data, run.folds(), {})
    shutil.rmtree(tmp_path / "node")
    forget()
    job = {
        "values": point.config.model_dump(mode="json"),
        "fold": 0,
        "folder": str(tmp_path / "fold"),
        "metric": "miou",
        "until": 1,
        "threads": 1,
        "journal": str(run.journal),
    }
    (report,) = train(job, shipment, torch.device("cpu"), lambda step: True)
    assert report["finished"] and (tmp_path / "node" / "plugins").is_dir()


def test_reading_a_run_elsewhere_executes_nothing_until_it_is_trusted(run, home, elsewhere, capsys):
    before = executions(home)
    with pytest.raises(UserError, match=r"space.yaml.*needs the plugin parts.py"):
        run.space()
    list_runs(root=str(home), output=Format.json)
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["run"] == run.name and listed["state"].startswith("cannot be read") and "parts.py" in listed["state"]
    assert executions(home) == before
    make_config({}, [run.folder / "parts.py"])
    assert read_run(run).space.settings.name == "plugged"


def test_a_run_that_names_a_file_instead_of_a_hash_is_not_read(run, home, tmp_path):
    shutil.copytree(run.folder, tmp_path / "downloaded")
    tree = read_checked(run.folder / "space.yaml")
    (tmp_path / "downloaded" / "space.yaml").write_text(json.dumps(tree | {"plugins": [str(home / "parts.py")]}))
    with pytest.raises(UserError, match="plugins: must have the hash of each plugin"):
        Run(tmp_path / "downloaded").space()


def test_an_ensemble_predicts_elsewhere_only_after_its_plugins_are_named(run, home, tmp_path, monkeypatch):
    configs = list(read_run(run).configs["config"])
    folder, manifest = assemble(run, configs, "none", tmp_path / "ensemble")
    (plugin,) = run.space().settings.plugins
    assert manifest["plugins"] == {"parts.py": plugin.hash}
    expected = load_ensemble(folder, "cpu").predict(*sample())
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "elsewhere"))
    forget()
    before = executions(home)
    with pytest.raises(UserError, match=r"needs the plugin parts.py"):
        load_ensemble(folder, "cpu")
    assert executions(home) == before
    make_config({}, [folder / "parts.py"])
    assert np.array_equal(load_ensemble(folder, "cpu").predict(*sample()).probability, expected.probability)


def sample():
    return np.full((40, 50, 3), 90, np.uint8), np.full((40, 50), 255, np.uint8)


def test_models_of_two_versions_of_a_plugin_form_an_ensemble(run, home, tmp_path):
    """As after --force-code: each model is built by its own version."""
    from trainable.training import checkpoint

    copy = Run(tmp_path / "plugged")
    shutil.copytree(run.folder, copy.folder)
    (config, _) = read_run(run).configs["config"]
    changed = make_config({"architecture": "tiny"}, [write_plugin(tmp_path, channels="layers")])
    best = copy.folder / "configs" / config / "fold_1" / "best.pt"
    state = checkpoint.load(best)
    state["config"]["plugins"] = {"parts.py": changed.plugins[0].hash}
    checkpoint.save(state, best)
    folder, manifest = assemble(copy, [config], "none", tmp_path / "ensemble")
    first, second = manifest["plugins"]
    assert first == "parts.py" and second == f"parts_{changed.plugins[0].hash[:12]}.py"
    assert (folder / second).read_text() == changed.plugins[0].source
    assert load_ensemble(folder, "cpu").predict(*sample()).mask.shape == (40, 50)


def test_an_export_contains_the_plugin_and_the_command_that_allows_it(run, tmp_path):
    export(read_run(run), None, tmp_path / "out", onnx=False)
    assert "parts.py" in (tmp_path / "out" / "SHA256SUMS").read_text()
    assert "python -m trainable trust ../parts.py" in (tmp_path / "out" / "README.md").read_text()
    space = load_space(tmp_path / "out" / "space.yaml")
    assert [plugin.name for plugin in space.settings.plugins] == ["parts.py"]


def test_a_plugin_with_the_name_of_the_script_is_exported_without_that_script(run, tmp_path):
    from trainable.training import checkpoint

    copy = Run(tmp_path / "plugged")
    shutil.copytree(run.folder, copy.folder)
    for path in [copy.folder / "space.yaml", *copy.folder.glob("configs/*/config.json")]:
        facts = read_checked(path)
        plugins = facts if "plugins" in facts else facts["config"]
        plugins["plugins"] = {"predict_onnx.py": plugins["plugins"]["parts.py"]}
        write_checked(path, facts)
    for path in copy.folder.glob("configs/*/fold_*/best.pt"):
        state = checkpoint.load(path)
        state["config"]["plugins"] = {"predict_onnx.py": state["config"]["plugins"]["parts.py"]}
        checkpoint.save(state, path)
    with pytest.raises(UserError, match=r"predict_onnx.py: a plugin of the run has the name .* --no-onnx"):
        export(read_run(copy), None, tmp_path / "out", onnx=True)
    assert not (tmp_path / "out").exists()
    export(read_run(copy), None, tmp_path / "out", onnx=False)
    assert "NETWORKS" in (tmp_path / "out" / "predict_onnx.py").read_text()
    assert (tmp_path / "out" / "SHA256SUMS").read_text().count("predict_onnx.py") == 1


def test_a_submitted_job_takes_the_file_along(run, home, tmp_path):
    assert list(copy_plugins(space_of(home).settings.plugins, tmp_path)) == ["parts.py"]
    assert (tmp_path / "parts.py").read_bytes() == (home / "parts.py").read_bytes()


def test_the_copy_of_a_run_in_an_object_store_is_downloaded():
    class Listed:
        def names(self, deep):
            return dict.fromkeys(["space.yaml", "parts.py", "optuna.db", "lease.json"], None)

    assert "parts.py" in _top_level_files(Listed(), (".yaml", ".json", ".py"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["plugins=none.py"], "none.py: there is no such file"),
        (["plugins=[]"], "architecture"),
        (["trainable=scripted"], "add to trainable: fold; here trainable is scripted"),
        (["plugins=3"], "must be a Python file or a list of them"),
        (["parameters.slope=0"], "must be greater than 0"),
    ],
)
def test_a_mistake_in_a_space_is_reported_with_its_key(run, home, overrides, message):
    with pytest.raises(SpaceError, match=message):
        space_of(home, *overrides)


def test_a_mistake_in_the_file_is_a_problem_of_the_space(run, home, tmp_path):
    broken = write_plugin(tmp_path, **{"LOSSES = ": "LOSSES = nothing or "})
    with pytest.raises(SpaceError, match=r"plugins.*parts.py, line 29: NameError: name 'nothing' is not defined"):
        space_of(home, f"plugins={broken}", "parameters.slope=1")
