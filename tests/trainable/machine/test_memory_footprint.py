"""Which configs are asked how much memory they take."""

from conftest import small_config

from trainable.config import make_config
from trainable.machine.memory_footprint import heaviest, shape_of


def size_of(config):
    return (480, 352) if config.size == "auto" else config.size


def names(configs, most=8):
    return [(config.encoder, config.batch_size, config.size) for config in heaviest(configs, size_of, most).values()]


def test_the_largest_batch_of_each_kind_of_network_is_probed():
    configs = [
        small_config(encoder=encoder, batch_size=batch, size=size, learning_rate=rate)
        for encoder in ("resnet18", "efficientnet-b2")
        for rate in (1e-3, 1e-2)
        # 8 x 480 x 352 = 1.35 million pixels, 12 x 320 x 352 the same, 6 x 480 x 480 = 1.38 million
        for batch, size in ((8, "auto"), (12, "320x320"), (6, "480x480"))
    ]
    assert names(configs) == [("resnet18", 6, (480, 480)), ("efficientnet-b2", 6, (480, 480))]


def test_attention_makes_another_network_and_a_rate_does_not():
    configs = [
        small_config(attention=attention, learning_rate=rate) for attention in ("scse", None) for rate in (1e-3, 1e-2)
    ]
    assert len(heaviest(configs, size_of, 8)) == 2


def test_width_and_depth_make_another_network_where_they_exist():
    plain = [make_config({"architecture": "unet-plain", "width": width, "depth": 3}) for width in (32, 64)]
    deep = make_config({"architecture": "unet-plain", "depth": 5})
    assert len(heaviest([*plain, deep, small_config()], size_of, 8)) == 4
    assert str(shape_of(deep, (64, 96))) == "unet-plain, width 64, depth 5, batch_size 8, size 64x96"


def test_every_recipe_is_probed():
    configs = [
        small_config(recipe=recipe, batch_size=size) for recipe in ("supervised", "dual_branch") for size in (4, 8)
    ]
    found = heaviest(configs, size_of, 8)
    assert {(config.recipe, config.batch_size) for config in found.values()} == {("supervised", 8), ("dual_branch", 8)}
    assert sum(str(shape).endswith(", recipe dual_branch") for shape in found) == 1


def test_twice_the_bytes_and_averaged_weights_weigh_more():
    plain, averaged = small_config(ema=0), small_config(ema=0.9)
    assert list(heaviest([plain, averaged], size_of, 8).values()) == [averaged]
    full = small_config(precision="float32", ema=0)
    assert list(heaviest([averaged, full, plain], size_of, 8).values()) == [full]


def test_of_too_many_kinds_those_with_the_largest_batches_are_probed():
    configs = [small_config(encoder=f"e{batch}", batch_size=batch) for batch in (1, 4, 2, 3)]
    assert [batch for _, batch, _ in names(configs, most=2)] == [4, 3]


def test_a_shape_names_what_a_person_can_change():
    config = small_config(batch_size=12)
    assert str(shape_of(config, (480, 352))) == "test_resnet unet, batch_size 12, size 480x352"


def test_a_stage_before_training_is_probed_apart():
    dino = {"pretraining": "dino", "pretraining_batch_size": 64}
    configs = [small_config(**stage, batch_size=batch) for stage in ({}, dino) for batch in (4, 8)]
    probed = list(heaviest(configs, size_of, 8).values())
    assert [(config.pretraining, config.batch_size) for config in probed] == [("none", 8), ("dino", 8)]
    assert str(shape_of(configs[2], (480, 352))).endswith("size 480x352, pretraining_batch_size 64")
