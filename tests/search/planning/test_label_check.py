"""Metrics, weights and supervision of a space are checked against its data before anything is decoded."""

import os
import shutil
from dataclasses import replace

import pytest
from conftest import small_config

from search.planning.label_check import COPIES, check_space_labels
from search.planning.plan import PlanOptions, make_plan
from spaces.load import make_space
from trainable.data.task import read_task
from trainable.errors import UserError

SMALL = {"encoder": "test_resnet", "attention": "none", "steps": 2, "evaluations": 1, "batch_size": 4}


def space(folder, metric="miou", **parameters):
    values = {"name": "checked", "data": str(folder), "folds": 3, "metric": {"name": metric}}
    return make_space(values | {"parameters": SMALL | parameters})


def check(folder, metric="miou", **parameters):
    made = space(folder, metric, **parameters)
    return check_space_labels(made, [point.config for point in made.configs()])


@pytest.fixture
def flat(class_folder, tmp_path):
    """The data set without volumes."""
    folder = shutil.copytree(class_folder, tmp_path / "flat")
    (folder / "train/volumes.csv").unlink()
    (folder / "train/groups.csv").unlink(missing_ok=True)
    return folder


@pytest.fixture
def splits(class_folder, tmp_path):
    """Four classes with a labelled split ``val`` and one of images and scribbles alone, ``test``."""
    folder = shutil.copytree(class_folder, tmp_path / "data")
    shutil.copytree(folder / "train", folder / "val")
    shutil.copytree(folder / "train", folder / "test", ignore=shutil.ignore_patterns("ground_truth"))
    return folder


def check_with(folder, validation, metric="miou", **parameters):
    made = space(folder, metric, **parameters)
    settings = made.settings.model_copy(update={"validation": validation})
    return check_space_labels(replace(made, settings=settings), [point.config for point in made.configs()])


def test_a_labelled_split_can_be_named_to_score_on(splits):
    assert check_with(splits, "val", "dice_volume") == []


def test_a_split_without_volumes_is_warned_of_if_the_metric_is_one_of_volumes(splits):
    (splits / "val/volumes.csv").unlink()
    assert check_with(splits, "val", "dice_ring") == []
    assert check_with(splits, "val", "dice_volume_ring") == [
        "validation = val: has no volumes.csv, so there is no dice_volume_ring of it; dice_ring is reported instead"
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vall", "has no split 'vall', only test, train, val. Did you mean 'val'"),
        ("train", "validation = train: is the split that is trained on"),
        ("test", "/test has no ground_truth/, so nothing can be scored on it"),
    ],
)
def test_another_split_cannot(splits, name, message):
    with pytest.raises(UserError) as error:
        check_with(splits, name)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_all_mistakes_are_in_one_error(splits):
    with pytest.raises(UserError) as error:
        check_with(splits, "test", "dice_LV", class_weights="1,2")
    metric, validation, weights = str(error.value).splitlines()
    assert metric.startswith("metric 'dice_LV': unknown.") and "dice_volume_crescent" in metric
    assert validation.startswith("validation = test:") and weights.startswith("class_weights: 2 weights for 4 classes")


@pytest.mark.parametrize(
    "metric", ["miou", "dice", "dice_ring", "iou_background", "dice_volume", "dice_volume_crescent", "pixel_accuracy"]
)
def test_metrics_of_the_data_set_are_accepted(class_folder, metric):
    assert check(class_folder, metric) == []


@pytest.mark.parametrize("metric", ["dice_volume", "dice_volume_ring"])
def test_a_metric_of_volumes_needs_volumes(flat, metric):
    with pytest.raises(UserError) as error:
        check(flat, metric)
    assert str(error.value) == f"metric {metric!r}: the data set has no volumes.csv, so there are no volumes to score"


@pytest.mark.parametrize(
    ("metric", "hint"),
    [
        ("dice_rin", "Did you mean 'dice_ring'"),
        ("iou_RV", "Known: miou, miou_image, iou_background, iou_ring"),
        ("dice_background", "unknown."),
        ("dice_volume_RV", "unknown."),
    ],
)
def test_a_class_that_the_data_set_does_not_have_is_named_with_those_it_has(class_folder, metric, hint):
    with pytest.raises(UserError) as error:
        check(class_folder, metric)
    assert str(error.value).startswith(f"metric {metric!r}: unknown.") and hint in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("weights", "given"), [("1,2", 2), ("1,2,2,2,2", 5)])
def test_as_many_weights_as_classes_are_needed(class_folder, weights, given):
    with pytest.raises(UserError) as error:
        check(class_folder, class_weights=weights)
    message = f"class_weights: {given} weights for 4 classes (background, ring, core, crescent)"
    assert str(error.value) == message
    assert check(class_folder, class_weights="1,2,2,2") == []


def test_every_mistake_of_every_config_has_one_line(flat):
    shutil.rmtree(flat / "train/ground_truth")
    with pytest.raises(UserError) as error:
        check(flat, "dice_volume", class_weights={"values": ["1,2", "1,2,2"]}, dropout={"values": [0, 0.1, 0.2]})
    lines = str(error.value).splitlines()
    assert len(lines) == 3 and lines[0].startswith("metric 'dice_volume'")
    assert all("has no ground_truth/; use supervision=scribbles; class_weights: " in line for line in lines[1:])


@pytest.mark.parametrize(
    ("supervision", "inputs", "warned"),
    [
        ("scribbles", "image+scribble", True),
        ("scribbles", "image", False),
        ("masks", "image+scribble", False),
        ("masks", "image", False),
    ],
)
def test_a_network_that_sees_what_its_loss_asks_for_is_warned_of(class_folder, supervision, inputs, warned):
    assert check(class_folder, supervision=supervision, inputs=inputs) == ([COPIES] if warned else [])
    assert "inputs=image is the usual choice" in COPIES


def test_data_without_masks_can_be_searched_with_scribbles_only(class_folder, tmp_path):
    folder = shutil.copytree(class_folder, tmp_path / "unmasked")
    shutil.rmtree(folder / "train/ground_truth")
    assert check(folder, "dice_volume", supervision="scribbles", inputs="image") == []
    with pytest.raises(UserError, match=r"supervision = masks: .* has no ground_truth/"):
        check(folder)


def test_two_classes_have_no_metrics_of_their_own_classes(small_folder):
    assert check(small_folder, "iou_foreground") == []
    with pytest.raises(UserError, match=r"metric 'dice_foreground': unknown\. Did you mean"):
        check(small_folder, "dice_foreground")


def test_data_on_another_machine_are_not_checked(tmp_path):
    assert check(tmp_path / "elsewhere", "dice_RV", class_weights="1,2,3") == []


def test_the_plan_checks_and_shows_the_warning(class_folder, flat):
    options = PlanOptions(step_seconds=0.1)
    plan = make_plan(space(class_folder, supervision="scribbles"), options)
    assert COPIES in plan.estimates.notes
    assert COPIES not in make_plan(space(class_folder), options).estimates.notes
    with pytest.raises(UserError, match="there are no volumes to score"):
        make_plan(space(flat, "dice_volume"), options)


FILE = """
name: checked
data: {data}
folds: 3
metric: {{name: {metric}}}
parameters: {{encoder: test_resnet, attention: none, steps: 2, evaluations: 1, class_weights: "{weights}"}}
resources: {{gpu: 0, cpu: 1}}
"""


@pytest.mark.parametrize(
    ("command", "metric", "weights", "message"),
    [
        ("plan", "dice_volume", "1,1,1,1", "metric 'dice_volume': the data set has no volumes.csv"),
        ("launch", "dice_RV", "1,1,1,1", "metric 'dice_RV': unknown."),
        ("launch", "miou", "1,2", "class_weights: 2 weights for 4 classes"),
    ],
)
def test_plan_and_launch_end_with_one_line_and_exit_code_2(
    fork_server, flat, tmp_path, command, metric, weights, message
):
    (tmp_path / "space.yaml").write_text(FILE.format(data=flat, metric=metric, weights=weights))
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "300", "RAY_ADDRESS": ""}
    done = fork_server.run(["-m", "search", command, "space.yaml"], tmp_path, environment)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert message in line and not (tmp_path / "runs").exists()


def test_the_fixture_is_what_the_messages_name(class_folder):
    assert read_task(class_folder).classes == ("background", "ring", "core", "crescent")
    assert small_config(class_weights="1,2,2,2").class_weights == (1.0, 2.0, 2.0, 2.0)


def test_a_batch_larger_than_the_training_images_of_a_fold_is_refused(small_folder):
    images = len(list((small_folder / "train/images").iterdir()))
    training = images - -(-images // 3)
    check(small_folder, batch_size=training)
    with pytest.raises(UserError, match=f"a batch of 100000 is larger than the {training} training images$"):
        check(small_folder, batch_size={"values": [4, 100000]})


def test_a_threshold_is_refused_for_several_classes(class_folder, small_folder):
    check(small_folder, tau=0.4)
    with pytest.raises(UserError, match=r"^tau = 0\.4: is for two classes; of 4 the most probable one is chosen$"):
        check(class_folder, tau=0.4)


def test_more_folds_than_groups_are_refused_before_anything_is_decoded(small_folder, tmp_path):
    folder = shutil.copytree(small_folder, tmp_path / "grouped")
    stems = sorted(path.stem for path in (folder / "train/images").iterdir())
    rows = [f"{stem},{'left' if number % 2 else 'right'}" for number, stem in enumerate(stems)]
    (folder / "train/groups.csv").write_text("\n".join(["stem,group", *rows]))
    with pytest.raises(UserError, match="folds = 3: the images form only 2 groups, which are never split"):
        check(folder)
