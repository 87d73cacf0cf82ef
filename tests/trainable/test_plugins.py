"""Plugins: what they add to configs, when they are executed, and what is wrong with a file."""

import json
import os
import pickle

import pytest
import torch
from plugin_files import executions, forget, write_plugin

from trainable.config import Config, describe, made_of, make_config, network_name, own_hyperparameters, recorded
from trainable.config.plugins.plugin import Plugin, plugins_of
from trainable.errors import UserError
from trainable.fit import fit_fold
from trainable.networks.registry import build_network
from trainable.objectives.mask_loss import region_loss
from trainable.objectives.plugin_loss import try_loss
from trainable.preflight.network_check import examined
from trainable.recipes.registry import build_recipe

VALUES = {"architecture": "tiny", "loss": "gap", "slope": 3, "tiny_width": 2}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))


def test_its_networks_losses_and_hyperparameters_are_part_of_configs(tmp_path):
    config = make_config(VALUES, [write_plugin(tmp_path)])
    assert isinstance(config, Config) and config.tiny_width == 2
    assert config.has("lambda_region") and config.has("pc"), "a region loss of a plugin is weighted as others are"
    assert network_name(config.network) == "tiny, tiny_width 2"
    logits = build_network(config, [100.0] * 3, [50.0] * 3, seed=0)(*images())
    assert logits.shape == (2, 1, 10, 14)
    probabilities = torch.tensor([[[[0.5, 1.0]]]])
    assert region_loss(config)(probabilities, torch.ones(1, 1, 1, 2)).tolist() == [[0.75]], "3 * mean of 0.5 and 0"
    rows = {row["name"]: row for row in describe(type(config))}
    assert rows["slope"]["only_with"] == "loss = gap" and "tiny" in rows["architecture"]["allowed"]


def images():
    return torch.zeros(2, 10, 14, 3, dtype=torch.uint8), torch.zeros(2, 10, 14, dtype=torch.uint8)


def test_without_its_name_nothing_of_a_plugin_is_known(tmp_path):
    make_config(VALUES, [write_plugin(tmp_path)])
    with pytest.raises(UserError, match="unknown hyperparameter 'slope'"):
        make_config(VALUES)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tiny_width": 3}, "tiny_width: belongs to architecture = tiny; here architecture is unet"),
        ({"architecture": "tiny", "tiny_width": 1}, "tiny_width = 1: input should be greater than or equal to 2"),
        ({"loss": "gapp"}, "Did you mean 'gap'"),
        ({"architecture": "tiny", "encoder": "resnet18"}, "encoder: belongs to architecture = unet or"),
    ],
)
def test_its_hyperparameters_are_validated_as_others(tmp_path, values, message):
    with pytest.raises(UserError, match=message):
        make_config(values, [write_plugin(tmp_path)])


def test_a_network_can_use_hyperparameters_of_built_in_networks(tmp_path):
    path = write_plugin(tmp_path, **{"lambda config: 1)": 'lambda config: 1, uses=("width", "encoder"))'})
    config = make_config({"architecture": "tiny", "width": 8}, [path])
    assert dict(config.network)["width"] == 8 and config.has("encoder") and not config.has("depth")


def test_a_config_as_json_names_its_plugins_and_keeps_its_id_when_they_change(tmp_path):
    config = make_config(VALUES, [write_plugin(tmp_path)])
    values = json.loads(json.dumps(config.model_dump(mode="json")))
    assert values["plugins"] == recorded(config.plugins) and list(values["plugins"]) == ["parts.py"]
    assert make_config(values) == config
    changed = make_config(VALUES, [write_plugin(tmp_path, channels="layers", mean="sum")])
    assert changed.id == config.id and changed != config
    assert changed.network != config.network, "what was measured with the other version is not valid"
    stages = [made_of({**each.model_dump(mode="json"), "pretraining": "dino"}) for each in (config, changed)]
    assert stages[0] != stages[1], "they do not share a pre-trained encoder"


def test_a_config_is_pickled_with_its_plugins(tmp_path, monkeypatch):
    config = make_config(VALUES, [write_plugin(tmp_path)])
    packed = pickle.dumps(config)
    forget()
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "node"))
    there = pickle.loads(packed)
    assert there.id == config.id and there.plugins == config.plugins and there.has("slope")


def test_only_a_file_that_the_user_has_named_is_executed(tmp_path, monkeypatch):
    path = write_plugin(tmp_path)
    values = make_config(VALUES, [path]).model_dump(mode="json")
    forget()
    assert make_config(values).id and executions(tmp_path) == 2, "named before, so it is executed in another process"
    forget()
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "another machine"))
    with pytest.raises(UserError, match=r"needs the plugin parts.py .SHA-256 .*python -m trainable trust FILE"):
        make_config(values)
    assert executions(tmp_path) == 2
    assert make_config(values, [path]).id and make_config(values).id


def test_a_file_of_another_user_or_with_another_content_in_the_cache_does_not_count(tmp_path, monkeypatch):
    config = make_config(VALUES, [write_plugin(tmp_path)])
    values = config.model_dump(mode="json")
    with monkeypatch.context() as patch, pytest.raises(UserError, match="not allowed"):
        patch.setattr(os, "getuid", lambda: 10_000_000)
        make_config(values)
    config.plugins[0].kept.write_text("NETWORKS = {}")
    with pytest.raises(UserError, match="not allowed"):
        make_config(values)


@pytest.mark.parametrize("named", [{"parts.py": "../../log"}, {"../parts.py": "0" * 64}, {"parts.py": 3}])
def test_a_record_cannot_point_outside_the_cache(named):
    with pytest.raises(UserError, match="must be the name of a Python file and the hash of its content"):
        make_config({"plugins": named})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"from torch import nn": "from torch import nothing"}, r"^parts.py, line 5: ImportError: cannot import name"),
        ({"slope * (": "slope * ("[:-1] + "(("}, r"^parts.py, line \d+: SyntaxError: "),
        ({"LOSSES = ": "raise SystemExit(3)\nLOSSES = "}, r"^parts.py, line 29: SystemExit: 3"),
        ({"NETWORKS": "A", "LOSSES": "B"}, "adds nothing: it needs one of the tables NETWORKS, LOSSES, RECIPES"),
        ({'{"gap": gap}': "[gap]"}, "LOSSES must be a dictionary of names"),
        ({'{"gap": gap}': '{"gap": 3}'}, r"LOSSES\['gap'\] must be a function, not int"),
        ({'"tiny": Network(Tiny': '"tiny": str, "x": Network(Tiny'}, r"NETWORKS\['tiny'\] must be a Network, not type"),
        ({'{"gap": gap}': '{"My loss": gap}'}, "'My loss': a name has lower-case letters"),
        ({'{"gap": gap}': '{"dice": gap}', '("gap",)': '("dice",)'}, "loss 'dice' exists already"),
        ({'"tiny": Network': '"unet": Network', '("tiny",)': '("unet",)'}, "architecture 'unet' exists already"),
        ({"slope: float": "batch_size: float"}, r"Hyperparameters.batch_size: exists already .built-in."),
        ({"slope: float": "id: float"}, "Hyperparameters.id: exists already"),
        ({'("gap",)': '("iou",)'}, "Hyperparameters.slope: must belong to a network, loss or recipe of this plugin"),
        ({"2.0, gt=0": "gt=0"}, "Hyperparameters.slope: needs a default and a description"),
        ({"lambda config: 1)": 'lambda config: 1, uses=("steps",))'}, "uses 'steps': must be one of encoder, "),
        ({"(BaseModel)": ""}, "Hyperparameters must be a subclass of pydantic.BaseModel"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as error:
        make_config({}, [write_plugin(tmp_path, **changes)])
    assert "\n" not in str(error.value)


def test_plugins_must_be_different_python_files(tmp_path):
    path = write_plugin(tmp_path)
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match=r"pars.py: there is no such file. Did you mean 'parts.py'"):
        plugins_of(str(tmp_path / "pars.py"))
    with pytest.raises(UserError, match="must be a Python file on this machine"):
        plugins_of(["s3://bucket/parts.py"])
    with pytest.raises(UserError, match=r"two files are called parts\.py"):
        plugins_of([path, write_plugin(tmp_path / "b")])
    other = write_plugin(tmp_path, "more.py", slope="more", tiny_width="wide")
    with pytest.raises(UserError, match=r"more.py: architecture 'tiny' exists already"):
        make_config({}, [path, other])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return probabilities @ truth.T", r"^loss = 'gap': fails .parts.py, line 25: "),
        ("return (probabilities - truth).mean()", r"must be a number per sample and channel, \(2, 3\) for .*not \(\)"),
        ("return probabilities.detach().mean((-2, -1))", "fails .*does not require grad"),
        ("return 0 * probabilities.log().mean((-2, -1)) / 0.0", "has no finite gradient"),
    ],
)
def test_a_loss_is_tried_before_anything_is_trained(tmp_path, body, message):
    good = "return slope * (probabilities - truth).abs().mean((-2, -1))"
    with pytest.raises(UserError, match=message):
        try_loss(make_config(VALUES, [write_plugin(tmp_path, **{good: body})]))
    (problem,) = examined([make_config(VALUES, [write_plugin(tmp_path, **{good: body})])])
    assert problem.startswith("loss = 'gap'")


def test_a_network_that_cannot_be_built_names_the_line(tmp_path):
    path = write_plugin(tmp_path, **{"width = config.tiny_width": "width = config.wide"})
    (problem,) = examined([make_config(VALUES, [path])])
    assert problem.startswith("architecture = 'tiny': cannot be built (parts.py, line 20: AttributeError: ")


def test_a_recipe_of_a_plugin_turns_a_batch_into_a_loss(tmp_path):
    (tmp_path / "half.py").write_text(
        "from trainable import Recipe\n\n\nclass Half(Recipe):\n"
        "    def forward(self, images, labels):\n"
        "        return self.objective(self.predict(images, labels), labels, images) / 2\n\n\n"
        'RECIPES = {"half": Half}\n'
    )
    config = make_config({"recipe": "half", "architecture": "tiny"}, [tmp_path / "half.py", write_plugin(tmp_path)])
    network = build_network(config, [100.0] * 3, [50.0] * 3, seed=0)
    recipe = build_recipe(config, network, lambda logits, labels, images: torch.tensor(5.0), torch.no_grad)
    assert recipe(images()[0], images()[1]).item() == 2.5


def test_a_plugins_values_are_its_own_alone(tmp_path):
    config = make_config(VALUES, [write_plugin(tmp_path)])
    assert own_hyperparameters(config, "loss") == {"slope": 3.0}
    assert own_hyperparameters(make_config({}), "loss") == {}


def test_fit_trains_with_a_plugin_and_refuses_to_resume_with_another_version(tmp_path, small_folder):
    from trainable.fit_session import Request
    from trainable.printing import Format

    small = ["architecture=tiny", "loss=gap", "size=32x32", "steps=1", "evaluations=1", "batch_size=4"]
    plugins = (str(write_plugin(tmp_path)),)
    asked = dict.fromkeys(("until", "validation", "cache"))
    request = Request(
        data=small_folder,
        fold=0,
        folds=2,
        fold_seed=0,
        out=tmp_path / "fold",
        assignments=tuple(small),
        metric="miou",
        device="cpu",
        workers=0,
        checkpoint_seconds=60.0,
        probabilities=False,
        split="train",
        plugins=plugins,
        **asked,
    )
    assert fit_fold(request, Format.json) == 0
    assert (tmp_path / "fold" / "parts.py").read_text() == (tmp_path / "parts.py").read_text()
    write_plugin(tmp_path, channels="layers")
    with pytest.raises(UserError, match=r"was trained with another version of parts.py: choose another --out"):
        fit_fold(request, Format.json)


def test_a_plugin_is_read_as_it_is_on_the_disk(tmp_path):
    path = write_plugin(tmp_path)
    path.write_bytes(b"\r\n" + path.read_bytes())
    (plugin,) = plugins_of([path])
    assert plugin == Plugin("parts.py", path.read_bytes().decode()) and plugin.kept.read_bytes() == path.read_bytes()
