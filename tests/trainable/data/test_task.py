"""What a data set declares in dataset.yaml, and every mistake in it with its line."""

import pytest
import yaml

from trainable.data.task import TWO_CLASSES, read_task
from trainable.errors import UserError
from trainable.objectives.metrics import METRICS, may_be_metric, metrics_of


@pytest.fixture
def read(tmp_path):
    """Write dataset.yaml and read the task."""

    def task(text):
        (tmp_path / "dataset.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
        return read_task(tmp_path)

    return task


@pytest.fixture
def mistakes(read, tmp_path):
    """The lines of the error that a file causes, without its path."""

    def lines(text):
        with pytest.raises(UserError) as error:
            read(text)
        path = str(tmp_path / "dataset.yaml")
        found = str(error.value).split("\n")
        assert all(line.startswith(path) for line in found), found
        return [line.removeprefix(path).lstrip(",: ") for line in found]

    return lines


def test_without_a_file_there_are_two_undeclared_classes(tmp_path):
    assert read_task(tmp_path) == TWO_CLASSES
    assert TWO_CLASSES.binary and not TWO_CLASSES.declared and not TWO_CLASSES.ignore


def test_everything_that_may_be_declared(read):
    task = read("classes: [background, RV, MYO, LV]\nvolumes: slices.csv\nignore_label: 255\n")
    assert (task.classes, task.volumes) == (("background", "RV", "MYO", "LV"), "slices.csv")
    assert task.ignore and task.declared and not task.binary
    assert task.foreground == ("RV", "MYO", "LV")


@pytest.mark.parametrize("count", [2, 3, 14, 15])
def test_2_to_15_classes_are_allowed(read, count):
    names = tuple(f"class{k}" for k in range(count))
    task = read(yaml.safe_dump({"classes": list(names)}))
    assert task.classes == names and task.binary == (count == 2)


@pytest.mark.parametrize(
    ("count", "words"), [(0, "is empty"), (1, "has 1 name;"), (16, "has 16 names"), (40, "has 40 names")]
)
def test_other_numbers_of_classes_are_refused(mistakes, count, words):
    (line,) = mistakes(
        yaml.safe_dump({"volumes": "v.csv", "classes": [f"c{k}" for k in range(count)]}, sort_keys=False)
    )
    assert line.startswith("line") and words in line and "2 to 15 are allowed" in line


@pytest.mark.parametrize("words", [["no", "yes", "on"], ["1", "2", "3"], ["null", "true", "0x1F"]])
def test_words_that_yaml_reads_as_something_else_are_names_of_classes(read, words):
    assert read(f"classes: [{', '.join(words)}]\n").classes == tuple(words)


def test_names_may_be_of_any_alphabet(read):
    assert read("classes: [fond, muscle-fibre, 左心室, é_2]\n").classes == ("fond", "muscle-fibre", "左心室", "é_2")


def test_every_mistake_is_listed_at_once_with_its_line(mistakes):
    text = (
        "clases: [a, b]\nclasses:\n  - background\n  - a b\n  - ring\n  - ring\nvolumes: a/b.csv\nignore_label: 254\n"
    )
    found = mistakes(text + "volumes: v.csv\nshape: round\n")
    assert [line.split(":")[0] for line in found] == [f"line {k}" for k in (1, 4, 6, 7, 8, 9, 10)]
    for line, words in zip(
        found,
        (
            "unknown key 'clases'. Did you mean 'classes'?",
            "class 'a b': use letters, digits, _ and - only",
            "class 'ring' is listed twice",
            "volumes must be the name of a file in each split, such as volumes.csv",
            "ignore_label must be 255",
            "volumes is given twice",
            "unknown key 'shape'. Known: classes, volumes, ignore_label.",
        ),
        strict=True,
    ):
        assert words in line


@pytest.mark.parametrize("text", ["volumes: v.csv\n", "{}"])
def test_classes_have_to_be_given(mistakes, text):
    assert mistakes(text) == ["classes is missing: 2 to 15 names, of which the first is the background"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "- background\n- ring\n", "classes\n"])
def test_a_file_that_is_no_mapping_is_refused_with_an_example(mistakes, text):
    assert mistakes(text) == ["must be a mapping such as classes: [background, ring, core]"]


@pytest.mark.parametrize("value", ["background", "{a: b}", "[[a], b]", "3", "[a, {b: c}]"])
def test_classes_have_to_be_a_list_of_names(mistakes, value):
    (line,) = mistakes(f"\nclasses: {value}\n")
    assert line == "line 2: classes must be a list of names, as in [background, ring, core]"


@pytest.mark.parametrize("value", ["", "[a.csv]", "/etc/passwd", "../v.csv", "''"])
def test_volumes_have_to_be_a_file_of_the_split(mistakes, value):
    (line,) = mistakes(f"classes: [a, b]\nvolumes: {value}\n")
    assert line.startswith("line 2: volumes must be the name of a file")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("classes: [a, b\n", "line 2: is not valid YAML"),
        ("classes: [a, b]\nvolumes: *x\n", "line 2: is not valid YAML"),
        ("classes: [a, \x00]\n", "is not valid YAML"),
        (b"classes: [a, \xff\xfe]\n", "cannot be read"),
        ("---\nclasses: [a, b]\n---\nclasses: [c, d]\n", "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_yaml_is_reported_in_one_line(mistakes, text, words):
    (line,) = mistakes(text)
    assert words in line


@pytest.mark.parametrize("name", ["volume", "volume_2"])
def test_a_name_that_would_make_two_metrics_of_one_name_is_refused(mistakes, name):
    (line,) = mistakes(f"classes:\n  - a\n  - b\n  - {name}\n")
    assert line == f"line 4: class '{name}': dice_volume names a metric; use another name"


@pytest.mark.parametrize("name", ["truth", "pixels", "slices", "dice", "mean"])
def test_a_name_that_would_hide_a_column_of_a_table_is_refused(mistakes, name):
    assert mistakes(f"classes: [a, {name}]\n") == [
        f"line 1: class '{name}': names a column of tables; use another name"
    ]


def test_a_file_with_another_suffix_is_not_taken_for_no_file(tmp_path):
    (tmp_path / "dataset.yml").write_text("classes: [background, ring, core]\n")
    with pytest.raises(UserError, match=r"dataset\.yaml: is missing, but there is dataset\.yml; rename it"):
        read_task(tmp_path)


@pytest.mark.parametrize("name", ["volumes", "image", "Volume", "miou", "dices", "iou_a", "pixel_accuracy"])
def test_no_allowed_name_makes_two_metrics_of_one_name(read, name):
    task = read(f"classes: [background, a, {name}]\n")
    names = metrics_of(task, volumes=True)
    assert len(set(names)) == len(names) == 12 and all(may_be_metric(metric) for metric in names)


def test_two_classes_have_the_metrics_that_they_always_had(read):
    always = ("miou", "miou_image", "iou_background", "iou_foreground", "dice", "pixel_accuracy")
    assert always == METRICS == metrics_of(read("classes: [background, foreground]\n"))
