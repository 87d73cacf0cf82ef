import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.config import Config, describe, make_config, network_name, parse_assignments
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


@pytest.mark.parametrize("size", ["31x100", "480", "480x352x3", "0x32", "axb", [480, 30], "-32x32", "480.5x352"])
def test_a_size_must_be_two_numbers_of_at_least_32(size):
    with pytest.raises(UserError, match="size"):
        make_config({"size": size})


def test_a_size_may_be_written_in_two_ways():
    assert make_config({"size": "481x355"}).size == make_config({"size": [481, 355]}).size == (481, 355)
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
    assert "supervision = masks" in described["only_with"].split("; ")


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


@pytest.mark.parametrize(
    ("architecture", "name", "value"),
    [
        ("unet-plain", "encoder", "resnet18"),
        ("unet", "width", 32),
        ("segformer", "depth", 4),
        ("deeplabv3plus", "attention", "scse"),
        ("unetplusplus", "atrous_rates", "1,2,3"),
    ],
)
def test_a_hyperparameter_of_another_network_is_refused(architecture, name, value):
    with pytest.raises(UserError, match=rf"^{name}: belongs to architecture = .*; here architecture is {architecture}"):
        make_config({"architecture": architecture, name: value})


def test_a_network_without_an_encoder_by_name_starts_from_a_file_but_not_from_imagenet():
    with pytest.raises(UserError, match=r"imagenet belongs to architecture = unet.*exmod-unet, so give a file"):
        make_config({"architecture": "exmod-unet", "encoder_weights": "imagenet"})
    config = make_config({"architecture": "exmod-unet", "encoder_weights": "w.pt"})
    assert config.weights_file == "w.pt" and config.model_dump()["encoder_weights"] == "w.pt"
    assert make_config(config.model_dump(mode="json")).id == config.id != make_config({"architecture": "exmod-unet"}).id


def test_ids_hold_the_learning_rate_of_the_encoder_only_where_it_differs():
    assert make_config({"encoder_learning_rate": 1}).id == Config().id != make_config({"encoder_learning_rate": 0}).id


@pytest.mark.parametrize("source", ["", "  ", "http://host/w.pt", "gs://bucket/w.pt", 3])
def test_weights_that_are_neither_a_file_nor_an_object_are_refused(source):
    with pytest.raises(UserError, match="encoder_weights = "):
        make_config({"encoder_weights": source})


def test_an_unknown_network_is_an_error_with_suggestions():
    with pytest.raises(UserError, match=r"architecture = 'unet_plain'.*Did you mean 'unet-plain'"):
        make_config({"architecture": "unet_plain"})


def test_the_id_of_a_network_holds_its_own_hyperparameters_where_they_differ():
    assert make_config({"architecture": "unet-plain"}).id == make_config({"architecture": "unet-plain", "depth": 4}).id
    dump = make_config({"architecture": "unet-plain", "width": 32}).model_dump(mode="json")
    assert dump["width"] == 32 and not dump.keys() & {"depth", "encoder", "encoder_weights", "attention"}
    rates = [make_config({"architecture": "deeplabv3plus", "atrous_rates": each}) for each in ("12,24,36", [6, 12, 18])]
    assert rates[0].id == make_config({"architecture": "deeplabv3plus"}).id != rates[1].id
    assert "atrous_rates" not in rates[0].model_dump() and "atrous_rates" not in rates[0].model_dump(mode="json")
    stored = rates[1].model_dump(mode="json")
    assert stored["atrous_rates"] == [6, 12, 18] and make_config(stored) == rates[1]


@pytest.mark.parametrize("rates", ["", "6,12", "6,12,18,24", "6,b,18", "0,6,12", 6])
def test_rates_that_are_not_three_dilations_are_refused(rates):
    with pytest.raises(UserError, match="atrous_rates"):
        make_config({"architecture": "deeplabv3plus", "atrous_rates": rates})


DEEP = {"architecture": "unet-plain", "depth": 6, "pretraining": "dino"}


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"architecture": "unet-plain", "depth": 6, "size": "64x63"}, "must be at least 64x64; here they are 64x63"),
        ({"architecture": "resunet", "depth": 5, "size": "32x32", "batch_size": 1}, "at least 2 images per step"),
        ({"architecture": "upernet", "size": "64x64", "batch_size": 1}, "at least 2 images per step"),
        (DEEP | {"size": "192x64"}, "views of pretraining = dino must be at least 64x64; .* 192x64 are 64x32$"),
        (DEEP | {"size": "64x64", "local_crops": 0}, "of images of 64x64 are 32x32$"),
    ],
)
def test_a_size_that_a_network_cannot_be_trained_at_is_refused(values, rule):
    with pytest.raises(UserError, match=rule):
        make_config(values)


def test_sizes_at_the_limit_are_allowed():
    assert make_config({"architecture": "unet-plain", "depth": 6, "size": "64x64"}).depth == 6
    assert make_config(DEEP | {"size": "128x128", "local_crops": 0}).depth == 6
    assert make_config({"architecture": "resunet", "depth": 5, "size": "32x33", "batch_size": 1}).batch_size == 1


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"encoder": "resnet18"}, "resnet18 unet"),
        ({"architecture": "upernet", "encoder": "mit_b0"}, "mit_b0 upernet"),
        ({"architecture": "resunet", "width": 32}, "resunet, width 32, depth 4"),
    ],
)
def test_a_network_is_named_by_what_it_has(values, name):
    assert network_name(make_config(values).network) == name


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"loss": "dice+bce", "lambda_region": 1}, "lambda_region: belongs to loss = dice or iou or tversky"),
        ({"loss": "dice+bce", "lambda_bce": 1}, "lambda_bce: belongs to loss = dice or iou or tversky"),
        ({"loss": "ce", "pc": 2}, "pc: belongs to loss = dice or iou or tversky; here loss is ce"),
        ({"alpha": 0.3}, "alpha: belongs to loss = dice.bce; here loss is iou"),
        ({"loss": "dice", "tversky_beta": 0.3}, "tversky_beta: belongs to loss = tversky"),
        ({"lambda_crf": 0.1}, "lambda_crf: belongs to supervision = scribbles"),
        ({"objective": "wpce"}, "objective: belongs to supervision = scribbles"),
        ({"supervision": "scribbles", "lambda_focal": 1}, "lambda_focal: belongs to supervision = masks"),
        ({"supervision": "scribbles", "objective": "wpce", "pc": 2}, "pc: belongs to objective = pce"),
        (
            {"supervision": "scribbles", "objective": "wpce", "class_weights": "1,2"},
            "class_weights: belongs to objective = pce",
        ),
    ],
)
def test_a_hyperparameter_of_another_loss_is_refused(values, rule):
    with pytest.raises(UserError, match=f"{rule}.*so leave it out"):
        make_config(values)


def test_the_presets_have_hyperparameters_of_their_own():
    dumped = make_config({"loss": "dice+bce", "alpha": 0.3}).model_dump(mode="json")
    assert dumped["alpha"] == 0.3 and not {"pc", "lambda_region", "lambda_bce"} & dumped.keys()
    assert make_config(dumped).id != make_config({"loss": "dice+bce"}).id
    assert (
        make_config({"supervision": "scribbles", "lambda_tv": 0.1}).id != make_config({"supervision": "scribbles"}).id
    )
