"""The time that pre-training takes, by the arithmetic of a small space."""

import pytest
from planned_space import STATED, space

from search.planning.plan import make_plan
from search.planning.plan_output import document, lines
from search.planning.pretraining import stage_seconds
from trainable.config import make_config

DINO = {
    "pretraining": "dino",
    "pretraining_epochs": 3,
    "pretraining_batch_size": 10,
    "local_crops": 5,
    "projection_size": 16,
}


def test_the_time_of_a_stage_is_that_of_its_pixels():
    config = make_config({**DINO, "batch_size": 4, "size": "256x128"})
    # Views of 128x64 and 64x32 pixels: 2 x 8192 by the student and a third of that by the teacher, 5 x 2048 small ones;
    # 16384 x 4/3 + 10240 = 32085.3 per image, as many as 0.97917 images of 256x128.
    # 25 images are 2 batches of 10, in 3 epochs 6 steps of 10 images. A step of 4 images takes 2 s, so an image 0.5 s.
    assert stage_seconds(config, (256, 128), 25, 2.0) == pytest.approx(6 * 10 * 0.5 * 0.9791667)


def test_a_plan_counts_each_encoder_once():
    both = {"values": [3], "when": {"pretraining": ["dino"]}}
    small = {"values": [10], "when": {"pretraining": ["dino"]}}
    plan = make_plan(
        space(
            parameters={
                "pretraining": {"values": ["none", "dino"]},
                "pretraining_epochs": both,
                "pretraining_batch_size": small,
                "loss": {"values": ["iou", "dice"]},
            }
        ),
        STATED,
    )
    # Two losses and two batch sizes share an encoder in each of the two folds.
    assert plan.configs == 8 and plan.pretraining.encoders == 2
    assert document(plan)["pretraining"]["encoders"] == 2
    assert "pre-training of 2 encoders, about " in dict(lines(plan))["before"]


def test_seeds_and_stages_have_encoders_of_their_own():
    stages = {"pretraining": "dino", "local_crops": {"values": [1, 2]}, "seed": {"values": [0, 1]}}
    assert make_plan(space(parameters=stages), STATED).pretraining.encoders == 2 * 4


def test_without_pretraining_the_plan_says_nothing_of_it():
    plan = make_plan(space(), STATED)
    assert plan.pretraining is None and document(plan)["pretraining"] is None and "before" not in dict(lines(plan))
