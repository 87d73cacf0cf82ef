import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.config import Config, describe, make_config, parse_assignments
from trainable.errors import UserError


def test_the_defaults_are_the_recipe():
    config = Config()
    assert (config.encoder, config.attention, config.dropout) == ("efficientnet-b2", "scse", 0.2)
    assert (config.lambda_region, config.lambda_bce, config.pc) == (1.0, 0.2, 3.0)
    assert (config.learning_rate, config.weight_decay, config.final_learning_rate) == (5e-3, 1e-4, 1e-7)
    assert (config.steps, config.batch_size, config.patience, config.tau) == (12_000, 8, 60, 0.5)


def test_equal_configurations_have_one_id_and_different_ones_differ():
    assert make_config({"pc": 3}).id == make_config({"pc": "3.0"}).id == Config().id
    assert make_config({"pc": 2}).id != Config().id


def test_the_order_of_keys_does_not_matter_for_the_id():
    assert make_config({"pc": 2, "loss": "dice"}).id == make_config({"loss": "dice", "pc": 2}).id


def test_a_typo_is_an_error_with_a_suggestion():
    with pytest.raises(UserError, match=r"unknown hyperparameter 'learning_rte'\. Did you mean 'learning_rate'"):
        make_config({"learning_rte": 1})


def test_every_problem_is_listed():
    with pytest.raises(UserError) as error:
        make_config({"loss": "dicee", "batch_size": 0, "dropout": 1.0, "speed": 3})
    message = str(error.value)
    assert "loss = 'dicee'" in message and "Did you mean 'dice'" in message
    assert "batch_size = 0" in message and "greater than or equal to 1" in message
    assert "dropout = 1.0" in message and "less than 1" in message
    assert "unknown hyperparameter 'speed'" in message


@pytest.mark.parametrize("value", ["1e-3", 1e-3, "0.001"])
def test_numbers_may_have_exponents(value):
    assert make_config({"learning_rate": value}).learning_rate == 0.001


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "fast", "", None])
def test_a_learning_rate_must_be_positive(value):
    with pytest.raises(UserError, match="learning_rate"):
        make_config({"learning_rate": value})


@pytest.mark.parametrize("size", ["100x100", "480", "480x352x3", "0x32", "axb", [480, 350], "-32x32"])
def test_a_size_must_be_two_multiples_of_32(size):
    with pytest.raises(UserError, match="size"):
        make_config({"size": size})


def test_a_size_may_be_written_in_two_ways():
    assert make_config({"size": "480x352"}).size == make_config({"size": [480, 352]}).size == (480, 352)
    assert Config().size == "auto"


def test_assignments_are_read_as_typed():
    values = parse_assignments(["pc=2", "attention=none", "augmentation=none"])
    assert values == {"pc": "2", "attention": "none", "augmentation": "none"}


@pytest.mark.parametrize("word", ["none", "null", "None"])
def test_the_word_none_is_refused_for_a_required_hyperparameter(word):
    config = make_config({"attention": word, "encoder_weights": word, "augmentation": "none"})
    assert (config.attention, config.encoder_weights, config.augmentation) == (None, None, "none")
    assert config.id == make_config({"attention": None, "augmentation": "none"}).id
    with pytest.raises(UserError, match="loss = 'none'"):
        make_config({"loss": "none"})


@pytest.mark.parametrize("word", ["pc", "=3", ""])
def test_an_assignment_without_key_or_value_is_refused(word):
    with pytest.raises(UserError, match="key=value"):
        parse_assignments([word])


@given(steps=st.integers(1, 20_000), evaluations=st.integers(1, 500))
def test_reports_are_spread_evenly_and_end_at_the_horizon(steps, evaluations):
    reports = make_config({"steps": steps, "evaluations": evaluations}).report_steps(steps)
    assert len(reports) == min(steps, evaluations) == len(set(reports))
    assert reports[-1] == steps and reports[0] >= 1
    gaps = [b - a for a, b in zip([0, *reports], reports, strict=False)]
    assert max(gaps) - min(gaps) <= 1


def test_half_of_a_horizon_is_reported_for_every_even_number_of_evaluations():
    # 100 reports over 12,000 steps: one each 120 steps, the 50th at 6,000.
    assert 6_000 in Config().report_steps(12_000)
    assert Config().report_steps(360) == [120, 240, 360]


def test_hyperparameters_added_after_the_first_version_leave_ids_and_files_as_they_were():
    """The ids are those that the first version gave."""
    assert Config().id == "35e0bc92533f"
    other = {"loss": "dice", "augmentation": "high", "attention": None, "batch_size": 3, "ema": 0.0, "pc": 1.5}
    assert make_config(other).id == "1e71d81c3123"
    defaults = {"supervision": "masks", "inputs": "image+scribble", "class_weights": None}
    assert make_config(defaults).id == Config().id
    for dump in (Config().model_dump(), Config().model_dump(mode="json"), make_config(defaults).model_dump()):
        assert not defaults.keys() & dump.keys() and "pc" in dump


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("supervision", "scribbles", "scribbles"),
        ("inputs", "image", "image"),
        ("class_weights", "1,3,3,3", [1.0, 3.0, 3.0, 3.0]),
    ],
)
def test_added_hyperparameters_are_part_of_id_and_files_where_they_differ(name, value, stored):
    config = make_config({name: value})
    dump = config.model_dump(mode="json")
    assert dump[name] == stored and config.id != Config().id
    assert make_config(dump) == config and make_config(dump).id == config.id


def test_class_weights_are_read_in_two_ways():
    expected = (1.0, 3.0, 3.0, 0.5)
    assert make_config({"class_weights": "1,3, 3,.5"}).class_weights == expected
    assert make_config({"class_weights": [1, 3, 3, 0.5]}).class_weights == expected
    assert make_config({"class_weights": "none"}).class_weights is None
    (described,) = [each for each in describe() if each["name"] == "class_weights"]
    assert described["allowed"] == "a weight per class, as in 1,3,3 or none" and described["default"] is None


@pytest.mark.parametrize("weights", ["", "1", "a,b", "1;2", "1,-2", "0,0", "1,nan", "nan,1", "1,inf", 3, [1], {"a": 1}])
def test_weights_that_are_no_weights_are_refused(weights):
    with pytest.raises(UserError, match="class_weights"):
        make_config({"class_weights": weights})


@pytest.mark.parametrize("values", [{"loss": "dice"}, {"loss": "iou"}, {"lambda_region": 0.5}, {"lambda_bce": 1.0}])
def test_what_does_not_exist_beside_another_value_is_refused(values):
    (name,) = values
    rule = f"^{name}: belongs to supervision = masks; here supervision is scribbles, so leave it out$"
    with pytest.raises(UserError, match=rule):
        make_config({"supervision": "scribbles", **values})
    (described,) = [each for each in describe() if each["name"] == name]
    assert described["only_with"] == "supervision = masks"


def test_files_of_configs_leave_out_what_does_not_exist_and_give_the_same_config():
    config = make_config({"supervision": "scribbles", "pc": 1})
    dumped = config.model_dump(mode="json")
    assert "loss" not in dumped and "lambda_bce" not in dumped
    assert make_config(dumped).id == config.id != make_config({"pc": 1}).id


def test_pc_beside_class_weights_is_refused():
    with pytest.raises(UserError, match=r"^pc: without effect where class_weights are given; leave the default"):
        make_config({"class_weights": "1,2", "pc": 2})
    assert make_config({"class_weights": "1,2", "pc": 3}).class_weights == (1, 2)


def test_a_supervision_that_does_not_exist_is_refused_with_a_suggestion():
    with pytest.raises(UserError, match=r"supervision = 'scribble'.*Did you mean 'scribbles'"):
        make_config({"supervision": "scribble"})
