"""Every kind of mistake in a space file is reported with its line, key path, value and rule."""

import re

import pytest

from spaces.load import load_space
from spaces.yaml_file.problems import SpaceError
from trainable.errors import UserError

MISTAKES = [  # text of the small space, its replacement, and the problem
    ("name: small", "name: ../evil", "1: name = '../evil': must be a folder name"),
    ("name: small", "name: 7", "1: name = 7: must be text"),
    ("name: small", "nam: small", "1: nam = 'small': unknown key. Did you mean 'name'?"),
    ("name: small", "title: small", "1: name: is required"),
    ("data: somewhere\n", "", "1: data: is required: a folder"),
    ("data: somewhere", "data: ''", "2: data = '': must not be empty"),
    ("data:", "folds: 1\ndata:", "2: folds = 1: must be greater than or equal to 2"),
    ("data:", "folds: 2.5\ndata:", "2: folds = 2.5: must be a valid integer"),
    ("data:", "fold_seed: true\ndata:", "2: fold_seed = true: must be a valid integer"),
    ("data:", "metric: [miou]\ndata:", "2: metric = ['miou']: must be a mapping of keys"),
    ("data:", "metric: {name: mio}\ndata:", "2: metric.name = 'mio': unknown metric. Did you mean 'miou'?"),
    ("data:", "metric: {goal: minimize}\ndata:", "2: metric.goal = 'minimize': higher is better for miou"),
    ("data:", "metric: {goal: lowest}\ndata:", "2: metric.goal = 'lowest': must be 'maximize' or 'minimize'"),
    ("data:", "sampler: gird\ndata:", "2: sampler = 'gird': unknown sampler. Did you mean 'grid'?"),
    ("data:", "sampler: {name: gird}\ndata:", "2: sampler.name = 'gird': unknown sampler. Did you mean 'grid'?"),
    ("data:", "sampler: 3\ndata:", "2: sampler = 3: must be a name or a mapping with a name: grid, random"),
    (
        "data:",
        "sampler: {name: tpe, count: 3, storage: 'mysql://me:word@host/db'}\ndata:",
        "2: sampler.storage = 'mysql://me:***@host/db': must not contain a password: write $NAME",
    ),
    ("data:", "sampler: {count: 3}\ndata:", "2: sampler.name: is required: grid, random, tpe, gp, cmaes"),
    ("data:", "sampler: {name: grid, count: 3}\ndata:", "2: sampler.count = 3: unknown key of sampler grid"),
    (
        "data:",
        "sampler:\n  name: random\n  cuont: 3\ndata:",
        "4: sampler.cuont = 3: unknown key of sampler random. Did",
    ),
    ("data:", "sampler: random\ndata:", "2: sampler.count: is required unless a budget"),
    ("data:", "sampler: tpe\nbudget: {cost_per_gpu_hour: 1}\ndata:", "2: sampler.count: is required unless a budget"),
    (
        "data:",
        "sampler: random\nscheduler: halving\nbudget: {trials: 9}\ndata:",
        "2: sampler.count: is required: halving promotes fractions of all configs",
    ),
    (
        "data:",
        "sampler: {name: cmaes, count: 9}\ndata:",
        "2: sampler = {name: 'cmaes', count: 9}: cmaes needs at least",
    ),
    ("data:", "scheduler: race\ndata:", "2: scheduler = 'race': unknown scheduler. Did you mean 'foldrace'?"),
    ("data:", "scheduler: {name: foldrace, keep: 0}\ndata:", "2: scheduler.keep = 0: must be greater than 0"),
    ("data:", "scheduler: {name: foldrace, delta: 1}\ndata:", "2: scheduler.delta = 1: must be less than 0.5"),
    ("data:", "scheduler: {name: foldrace, rungs: 0.5}\ndata:", "2: scheduler.rungs = 0.5: must be a list"),
    ("data:", "scheduler: {name: asha, rungs: [0.5, 1]}\ndata:", "2: scheduler.rungs.1 = 1: must be less than 1"),
    ("data:", "scheduler: {name: asha, rungs: [0.5, 0.2]}\ndata:", "2: scheduler.rungs = [0.5, 0.2]: must increase"),
    ("data:", "scheduler: {name: asha, reduction: 1}\ndata:", "2: scheduler.reduction = 1: must be greater than 1"),
    ("data:", "scheduler: {name: asha, keep: 0.5}\ndata:", "2: scheduler.keep = 0.5: unknown key of scheduler asha"),
    ("data:", "scheduler: {name: halving, quotas: [4, 8]}\ndata:", "2: scheduler.quotas = [4, 8]: must not increase"),
    (
        "data:",
        "scheduler: {name: halving, quotas: [2, 2, 2, 1, 1]}\ndata:",
        "scheduler.quotas = [2, 2, 2, 1, 1]: must have at most 4 entries",
    ),
    (
        "data:",
        "scheduler: {name: foldrace, stratify: los}\ndata:",
        "2: scheduler.stratify = 'los': unknown parameter wit",
    ),
    ("data:", "budget: {wall: 12x}\ndata:", "2: budget.wall = '12x': must be a time such as 12h"),
    ("data:", "budget: {gpu_hours: 0}\ndata:", "2: budget.gpu_hours = 0: must be greater than 0"),
    ("data:", "budget: {gpu_hours: .nan}\ndata:", "2: budget.gpu_hours = nan: must be"),
    ("data:", "budget: {trials: 1.5}\ndata:", "2: budget.trials = 1.5: must be a valid integer"),
    (
        "data:",
        "budget: {gpuhours: 2}\ndata:",
        "2: budget.gpuhours = 2: unknown key of budget. Did you mean 'gpu_hours'",
    ),
    ("data:", "resources: {gpu: 1.5}\ndata:", "2: resources.gpu = 1.5: must be auto, a fraction such as 0.25"),
    ("data:", "resources: {gpu: true}\ndata:", "2: resources.gpu = true: must be auto, a fraction"),
    ("data:", "resources: {cpu: 0}\ndata:", "2: resources.cpu = 0: must be greater than 0"),
    (
        "data:",
        "tracking: [wandb, mlfow]\ndata:",
        "2: tracking.1 = 'mlfow': must be 'tensorboard', 'mlflow' or 'wandb'. D",
    ),
    ("data:", "trainable: flod\ndata:", "2: trainable = 'flod': unknown trainable. Did you mean 'fold'?"),
    ("data:", "data: elsewhere\ndata:", "3: data: is a duplicate key, first defined on line 2"),
    ("  loss: {values: [iou, dice]}\n  pc: {values: [1, 2, 3]}", "", "3: parameters = null: is required"),
    (
        "  loss: {values: [iou, dice]}\n  pc: {values: [1, 2, 3]}",
        "  - loss",
        "3: parameters = ['loss']: must be a mapping",
    ),
    ("  pc", "  lss", "5: parameters.lss = {values: [1, 2, 3]}: unknown hyperparameter. Did you mean 'loss'?"),
    (
        "[iou, dice]",
        "[iou, dise]",
        "4: parameters.loss.values.1 = 'dise': must be 'dice', 'iou', 'tversky', 'dice+bce' or 'ce'. Did you mean",
    ),
    (
        "pc: {values: [1, 2, 3]}",
        "acceleration: {values: [none, graph]}",
        "5: parameters.acceleration = {values: ['none', 'graph']}: must be one value: it does not decide a score",
    ),
    ("[1, 2, 3]", "[1, 2, 0]", "5: parameters.pc.values.2 = 0: must be greater than 0"),
    ("[1, 2, 3]", "[1, true]", "5: parameters.pc.values.1 = true: must be number > 0"),
    ("[1, 2, 3]", "[1, .inf]", "5: parameters.pc.values.1 = inf: must be a finite number"),
    ("[1, 2, 3]", f"{list(range(1, 1002))}", "must have at most 1,000 entries"),
    ("[1, 2, 3]", "[]", "5: parameters.pc.values = []: must be a list of at least one value"),
    ("[1, 2, 3]", "3", "5: parameters.pc.values = 3: must be a list of at least one value"),
    ("{values: [1, 2, 3]}", "[1, 2, 3]", "5: parameters.pc = [1, 2, 3]: must be a value, or {values: [1, 2, 3]}"),
    ("{values: [1, 2, 3]}", "0", "5: parameters.pc = 0: must be greater than 0"),
    ("{values: [1, 2, 3]}", "{}", "5: parameters.pc = {}: needs values: [...], or both min and max"),
    ("{values: [1, 2, 3]}", "{min: 1}", "5: parameters.pc = {min: 1}: needs values: [...], or both min and max"),
    (
        "{values: [1, 2, 3]}",
        "{values: [1], min: 1}",
        "5: parameters.pc = {values: [1], min: 1}: has values, so it cann",
    ),
    ("{values: [1, 2, 3]}", "{valeus: [1]}", "5: parameters.pc.valeus = [1]: unknown key of a parameter. Did you mean"),
    ("{values: [1, 2, 3]}", "{min: 1, max: 3}", "5: parameters.pc = {min: 1, max: 3}: is a range, which a grid cannot"),
    ("[1, 2, 3]}", "[1], when: {los: iou}}", "5: parameters.pc.when.los = 'iou': unknown parameter of this space. Did"),
    (
        "[1, 2, 3]}",
        "[1], when: {loss: iuo}}",
        "5: parameters.pc.when.loss = 'iuo': can never hold: loss is iou, dice. Di",
    ),
    ("[1, 2, 3]}", "[1], when: iou}", "5: parameters.pc.when = 'iou': must be a mapping of parameters to values"),
    ("[1, 2, 3]}", "[1], when: {loss: []}}", "5: parameters.pc.when.loss = []: must be a value or a list of values"),
    ("[1, 2, 3]}", "[1], when: {pc: 1}}", "5: parameters.pc.when = {pc: 1}: is part of a cycle of"),
    ("data:", "forbid: {loss: iou}\ndata:", "2: forbid = {loss: 'iou'}: must be a list"),
    ("data:", "forbid:\n  - {}\ndata:", "3: forbid.0 = {}: must be a mapping of parameters to values"),
    ("data:", "forbid:\n  - {pc: 1}\n  - {pc: 9}\ndata:", "4: forbid.1.pc = 9: can never hold: pc is 1, 2, 3"),
    ("data:", "forbid: [{pc: [1, 2, 3]}]\ndata:", "2: forbid = [{pc: [1, 2, 3]}]: excludes every config"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_a_mistake_is_reported_with_its_line(problems, old, new, message):
    assert any(message in problem for problem in problems(old=old, new=new)), problems(old=old, new=new)


RANGES = [
    ("learning_rate: {min: 0, max: 1e-2, distribution: log_uniform}", "learning_rate.min = 0: must be greater than 0"),
    ("weight_decay: {min: 0, max: 1e-2, distribution: log_uniform}", "weight_decay.min = 0: must be greater than 0 on"),
    ("ema: {min: 0.5, max: 1}", "ema.max = 1: must be less than 1"),
    ("ema: {min: 0.5, max: 0.5}", "ema.max = 0.5: must be greater than min, which is 0.5"),
    ("ema: {min: '0', max: 0.5}", "ema.min = '0': must be a number"),
    ("ema: {min: 0, max: .nan}", "ema.max = nan: must be a number"),
    (
        "ema: {min: 0, max: 0.5, distribution: unifrm}",
        "ema.distribution = 'unifrm': unknown distribution. Did you mean",
    ),
    ("ema: {min: 0, max: 0.5, distribution: int}", "must have whole numbers as min and max"),
    ("ema: {min: 0, max: 0.5, log: true}", "ema.log = true: needs distribution: int"),
    ("ema: {min: 0, max: 0.5, log: 1}", "ema.log = 1: must be true or false"),
    (
        "steps: {min: 1, max: 9, distribution: uniform}",
        "steps.distribution = 'uniform': must be int: steps takes whole",
    ),
    ("steps: {min: 0, max: 9}", "steps.min = 0: must be greater than or equal to 1"),
    ("steps: {min: 1.5, max: 9}", "steps.min = 1.5: must be a valid integer"),
    ("loss: {min: 0, max: 1}", "loss.min = 0: must be 'dice', 'iou', 'tversky', 'dice+bce' or 'ce'"),
    (
        "steps: {values: [1], when: {ema: 0.1}}\n  ema: {min: 0, max: 0.5}",
        "cannot be compared: ema is a range of real numbers",
    ),
]


@pytest.mark.parametrize(("parameter", "message"), RANGES)
def test_a_wrong_range_is_reported_with_the_wrong_key(problems, parameter, message):
    found = problems(f"name: a\ndata: b\nsampler: {{name: random, count: 3}}\nparameters:\n  {parameter}\n")
    assert all(problem.startswith("5: parameters.") for problem in found) and message in found[0], found


def test_all_problems_of_a_file_are_listed_in_its_order(problems, load):
    text = """\
name: a b
folds: 1
metric: {name: mio}
parameters:
  loss: {values: [iou, dise]}
  learning_rte: 1e-3
  ema: {min: 0.5, max: 1}
sampler: {name: tpe, cuont: 3}
scheduler: {name: foldrace, keep: 2}
budget: {wall: soon}
folds: 3
forbid: [{losss: iou}]
"""
    found = problems(text)
    assert [int(re.match(r"\d+", problem)[0]) for problem in found] == [1, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12]
    with pytest.raises(UserError, match=r"^12 problems\n.*space\.yaml:1: "):
        load(text)


def test_one_problem_is_one_line(load):
    with pytest.raises(UserError) as caught:
        load(old="iou, dice", new="iou, dise")
    assert re.fullmatch(r"\S+/space\.yaml:4: parameters\.loss\.values\.1 = 'dise': .*", str(caught.value))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "space.yaml: is empty"),
        (b"# nothing\n", "space.yaml: is empty"),
        (b"- a\n- b\n", "space.yaml:1: must be a mapping of keys, as in name: mine, not a list"),
        (b"\n\nhello\n", "space.yaml:3: must be a mapping of keys, as in name: mine, not a single value"),
        (b"\x89PNG\r\n\x1a\n", "space.yaml:1: is not UTF-8 text (byte 0x89)"),
        (b"a: 1\nb: \xff\n", "space.yaml:2: is not UTF-8 text (byte 0xff)"),
        (b"a: 1\nb: [\n", "space.yaml:3:1: not YAML: "),
        (b"a: 1\n\tb: 2\n", "space.yaml:2:1: tabs cannot be used for indentation"),
        (b"x" * 70_000, "space.yaml: is larger than 64 KiB"),
    ],
)
def test_a_file_that_is_not_a_space_gives_one_line(write, content, message):
    with pytest.raises(UserError) as caught:
        load_space(write(content))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_suggests_similar_names(tmp_path):
    (tmp_path / "mine.yaml").write_text("")
    with pytest.raises(UserError, match=r"/mine\.yml: no such file\. Did you mean '.*/mine\.yaml'"):
        load_space(tmp_path / "mine.yml")
    with pytest.raises(UserError, match=r"ful_grid: no such file\. Did you mean 'full_grid'"):
        load_space("ful_grid")
    with pytest.raises(UserError, match="Is a directory"):
        load_space(tmp_path)


def test_an_error_can_be_pickled(load):
    import pickle

    with pytest.raises(SpaceError) as caught:
        load(old="iou, dice", new="iou, dise")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
