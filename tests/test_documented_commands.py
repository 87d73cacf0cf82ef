"""Every command in the README, the documentation, the deployment files and the spaces runs.

It runs here, on small data, unless the tables below say where else, or why it is only read. A launch runs until it
would train. Of commands that differ by values only one runs, and the others are read.
"""

import importlib
import re
import shlex
import shutil
import tomllib

import pytest
from documented_commands import ROOT, SPACES, Command, documented_benchmarks, documented_commands, shell_lines, tour
from imported_data import volume, write_h5, write_nifti, write_palette
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from spaces.load import load_space
from trainable.config import METHOD, ImageConfig, make_config, parse_assignments
from trainable.exit_codes import INTERRUPTED

COMMANDS = documented_commands()
# Commands that run in other tests: what they match, and the file in tests/.
ELSEWHERE = {
    r"search launch beyond .*sampler\.name=nearby": "test_extending.py",
    r"search replay .*first-fold": "test_extending.py",
    r"trainable fit .*(loss=log-cosh-dice|encoder=convnext_atto|architecture=small)": "test_extending.py",
    r".* s3://bucket/": "search/run_storage/test_stored_run.py",
    r"search launch quickstart --serve|analysis serve": "search/commands/test_live_page.py",
    r"search stop": "search/commands/test_launch.py",
    r"search submit": "cluster/connection/test_submission.py",
    r"search launch .*--address": "search/commands/test_launch.py",
    r"cluster doctor": "cluster/doctor/test_doctor.py",
    r"analysis refine": "analysis/refinement/test_refine_command.py",
    r"analysis export": "analysis/exports/test_export.py",
    r"trainable networks": "trainable/commands/test_commands.py",
    r"trainable fit .*architecture=mask-rcnn": "trainable/networks/test_contract.py",
}
# Commands that are only read, and why.
READ_ONLY = {r"trainable fit .*sam_weights=facebook/": "downloads weights"}
# What makes fold trials fast, unless a command sets it.
FEW, FEW_ENCODERS = (
    ["steps=1", "evaluations=1", "size=64x64", "batch_size=2"],
    ["encoder=test_resnet", "attention=none"],
)
# Programs that no test runs: they need a network, a cluster, a container engine or a GPU.
OUTSIDE = {"(umask", "bash", "git", "mkdir", "podman", "tar"}


def parsed(command):
    """The parameters of a command; None if it is only mentioned."""
    name, *rest = shlex.split(command.words)
    found = get_command(importlib.import_module(f"{command.program}.__main__").app).commands[name]
    if not rest and any(parameter.required for parameter in found.params):
        return None
    try:
        return found.make_context(name, rest).params
    except Exception as problem:  # noqa: BLE001  typer has its own copy of click
        pytest.fail(f"{command.file}: python -m {command.text}: {problem}")


def listed(command, table):
    return next((where for pattern, where in table.items() if re.match(pattern, command.text)), None)


def commands_here():
    """Those that run here: one of each form that no other test runs."""
    forms = {Command("", *line.removeprefix("python -m ").split(" ", 1)).form for line in tour()}
    forms |= {command.form for command in COMMANDS if listed(command, ELSEWHERE)}
    for command in COMMANDS:
        if command.form not in forms and not listed(command, ELSEWHERE | READ_ONLY):
            forms.add(command.form)
            yield pytest.param(command, id=command.text)


@pytest.fixture(scope="module")
def home(tmp_path_factory, small_folder, class_folder, small_run):
    """A folder with the data, the runs and the files that the documentation names."""
    from safetensors.torch import save_file

    from trainable.data.synthetic.synthesize import synthesize
    from trainable.networks.registry import build_network

    home = tmp_path_factory.mktemp("documented")
    shutil.copytree(small_run.folder, home / "runs/first")
    for name in ("full_grid", "unet_family"):
        (home / f"runs/{name}").symlink_to("first")
    (home / "runs/quickstart-data").symlink_to(small_folder)
    for name in ("examples", "benchmarks"):
        (home / name).symlink_to(ROOT / name)
    (home / "data").mkdir()
    (home / "data/scribbles").symlink_to(small_folder)
    shutil.copytree(class_folder, home / "data/acdc")
    task = home / "data/acdc/dataset.yaml"
    for name, other in (("ring", "RV"), ("core", "MYO"), ("crescent", "LV")):
        assert name in task.read_text()
        task.write_text(task.read_text().replace(name, other))
    synthesize(home / "val", images=4, test_images=0, width=96, height=80, seed=2, classes=4, volumes=2, grey=True)
    (home / "val/train").rename(home / "data/acdc/val")
    for name in ("volumes.csv", "groups.csv"):
        path = home / "data/acdc/val" / name
        path.write_text(path.read_text().replace("volume0", "other0"))
    for path in (home / "data/acdc/val").glob("*/volume0*"):
        path.rename(path.with_name(path.name.replace("volume0", "other0")))
    (home / "data/mscmr").symlink_to("acdc")
    shutil.copytree(home / "data/acdc/val/ground_truth", home / "masks")
    config = make_config({"encoder": "resnet18", "size": "64x64"})
    encoder = build_network(config, [0.0] * 3, [1.0] * 3, 0, 2).core.encoder
    save_file({name: each.contiguous() for name, each in encoder.state_dict().items()}, home / "weights.safetensors")
    _write_sources(home)
    return home


def _write_sources(home):
    for name, patient in (("ACDC", "patient001_frame01"), ("ACDC_val", "patient002_frame01")):
        write_h5(home / name / f"{patient}.h5", **volume())
    for part, suffix in (("image", ""), ("label", "_manual"), ("scribble", "")):
        write_nifti(home / f"MSCMR/{part}s/s1_DE{suffix}.nii.gz", volume()[part].astype("float32"))
    voc = home / "VOCdevkit/VOC2012"
    (voc / "ImageSets/Segmentation").mkdir(parents=True)
    (voc / "ImageSets/Segmentation/train.txt").write_text("a\n")
    (voc / "JPEGImages").mkdir()
    Image.new("RGB", (3, 2)).save(voc / "JPEGImages/a.jpg")
    write_palette(voc / "SegmentationClass/a.png", [[0, 8, 12], [0, 8, 12]])


def smaller(command, home, scratch):
    """Its words, with options that make it fast and keep what it writes out of the shared runs."""
    name, *rest = command.filled
    config = min(path.name for path in home.glob("runs/first/configs/*"))
    rest = [config if word in ("ID", "B", "3f1c") else word.replace("/shared/data", "data") for word in rest]
    given = {word.split("=")[0] for word in rest}
    if name == "fit":
        few = [] if "method" in given else [*FEW, *(["pretraining_epochs=1"] if "pretraining" in given else [])]
        few += [] if given & {"method", "architecture"} else FEW_ENCODERS
        rest += [word for value in few if value.split("=")[0] not in given for word in ("--set", value)]
        rest += ["--out", scratch / "fold", "--folds", 3] + ([] if "method" in given else ["--workers", 0])
    elif name == "synthesize":
        rest += ["--size", "64x64", "--images", 8]
    elif name == "launch":
        rest += ["--runs", scratch / "runs", "--step-seconds", 0.001, "--set", "folds=3"]
    return [name, *map(str, rest)]


@pytest.fixture
def not_trained(monkeypatch):
    """A launch ends where it would train, and is planned with a few worlds."""
    from search.commands import launch
    from search.engine.listeners import Outcome
    from search.planning import rehearsal

    studies = []

    def run_study(study, *given):
        studies.append(study)
        return Outcome("not trained in a test", interrupted=True)

    monkeypatch.setattr(launch, "run_study", run_study)
    monkeypatch.setattr(rehearsal, "KINDS", ("mild",))
    monkeypatch.setattr(rehearsal, "MAX_WORLDS", 1)
    return studies


@pytest.mark.parametrize("command", commands_here())
def test_a_documented_command_runs(command, home, small_cache, tmp_path, monkeypatch, not_trained):
    if parsed(command) is None:
        return
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(small_cache))
    monkeypatch.chdir(home)
    if command.words.startswith(("import", "synthesize")):  # which write into data/
        for source in ("ACDC", "ACDC_val", "MSCMR", "VOCdevkit"):
            (tmp_path / source).symlink_to(home / source)
        monkeypatch.chdir(tmp_path)
    words = smaller(command, home, tmp_path)
    done = CliRunner().invoke(importlib.import_module(f"{command.program}.__main__").app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == (INTERRUPTED if words[0] == "launch" else 0), done.output
    assert len(not_trained) == (words[0] == "launch")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.file}: {command.text}")
def test_a_documented_command_exists_with_its_options(command):
    given = parsed(command) or {}
    if command.file == "extending.md":  # which adds what its commands name
        return
    if given.get("space") in SPACES:
        load_space(SPACES[given["space"]], given.get("assignments") or [])
    elif command.words.startswith("fit "):
        values = parse_assignments(given.get("assignments") or [])
        ImageConfig(**values) if METHOD in values else make_config(values)


@pytest.mark.parametrize("pattern", [*ELSEWHERE, *READ_ONLY])
def test_an_exception_is_of_a_documented_command(pattern):
    assert any(re.match(pattern, command.text) for command in COMMANDS)
    assert pattern in READ_ONLY or (ROOT / "tests" / ELSEWHERE[pattern]).is_file()


def test_the_documented_commands_are_found():
    files = {command.file for command in COMMANDS}
    assert {"README.md", "cluster.md", "storage.md", "slurm-classic.sh", "kuberay-job.yaml", "Makefile"} <= files
    assert len(COMMANDS) >= 150 and len(list(commands_here())) >= 50


@pytest.mark.parametrize(("name", "words"), documented_benchmarks())
def test_a_documented_benchmark_has_the_options(name, words):
    """These take minutes; ``test_benchmarks.py`` runs most of them on small inputs."""
    source = (ROOT / f"benchmarks/{name}.py").read_text()
    assert set(re.findall(r"--[\w-]+", words)) <= set(re.findall(r'"(--[\w-]+)"', source))


def test_other_programs_are_called_with_what_the_project_has():
    """Targets of make, extras of pip and paths of tests exist; what else is shown needs what tests lack."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    for file, line in shell_lines():
        words = line.split("#")[0].split()
        if words[0] == "make":
            assert words[1] in targets, f"{file}: {line}"
        elif words[0] == "pip":
            assert set(re.search(r"\[(.+)\]", line)[1].split(",")) <= extras, f"{file}: {line}"
        elif "pytest" in words:
            assert (ROOT / words[-1]).exists(), f"{file}: {line}"
        else:
            assert words[0] in OUTSIDE or words[0] == "python", f"{file}: {line}"
