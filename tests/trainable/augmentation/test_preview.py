"""The picture of the augmentation levels shows what training sees."""

import shutil

import numpy as np

from trainable.augmentation import preview
from trainable.data.decoded_images import open_data
from trainable.data.packed_labels import unpack


def test_without_masks_every_sample_keeps_its_own_scribbles(small_folder, tmp_path, monkeypatch):
    folder = shutil.copytree(small_folder, tmp_path / "data")
    shutil.rmtree(folder / "train/ground_truth")
    (folder / "dataset.yaml").write_text("classes: [background, object]\n")
    data = open_data(folder, (64, 32), cache=tmp_path / "cache")
    drawn = []
    monkeypatch.setattr(preview, "overlay", lambda image, labels, classes: drawn.append(labels) or image)
    preview.draw_samples(data, 4, seed=0)
    assert len(drawn) > 40 and all(unpack(labels)[0].any() for labels in drawn)
    assert not any(np.any(unpack(labels)[1]) for labels in drawn), "nothing is drawn as the outline of a mask"
