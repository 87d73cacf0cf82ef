import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trainable.data.dataset import IGNORED, UNLABELLED
from trainable.data.packed_labels import pack, repack, unpack, with_border, without_mask

MASKS = np.array([*range(15), IGNORED], np.uint8)
SCRIBBLES = np.array([*range(15), UNLABELLED], np.uint8)
SCRIBBLE, MASK = (each.astype(np.uint8) for each in np.meshgrid(SCRIBBLES, MASKS))


def test_every_class_of_scribble_and_mask_comes_back():
    packed = pack(SCRIBBLE, MASK)
    assert packed.dtype == np.uint8 and len(np.unique(packed)) == 256, "every pair has a byte of its own"
    scribble, mask = unpack(packed)
    assert np.array_equal(mask, MASK)
    assert np.array_equal(scribble, np.where(SCRIBBLE == UNLABELLED, 0, SCRIBBLE + 1))
    assert np.array_equal(repack(scribble, mask), packed)


def test_a_tensor_is_unpacked_as_an_array_is():
    packed = pack(SCRIBBLE, MASK)
    for tensor, array in zip(unpack(torch.from_numpy(packed)), unpack(packed), strict=True):
        assert tensor.dtype == torch.uint8 and np.array_equal(tensor.numpy(), array)


def test_zero_is_unlabelled_background():
    assert pack(np.array([UNLABELLED], np.uint8), np.array([0], np.uint8)).tolist() == [0]


@given(arrays.arrays(np.uint8, (3, 4)), arrays.arrays(np.uint8, (3, 4), elements=st.integers(0, 15)))
def test_without_its_mask_a_label_is_the_same_whatever_the_mask_was(packed, other):
    scribble, _ = unpack(packed)
    bare = without_mask(packed)
    assert np.array_equal(bare, without_mask(repack(scribble, other)))
    assert np.array_equal(unpack(bare)[0], scribble) and not unpack(bare)[1].any()


def test_a_border_is_scribbled_where_nobody_has_scribbled_and_the_inside_stays():
    scribble, mask = np.zeros((40, 80), np.uint8), np.full((40, 80), 2, np.uint8)
    scribble[0, 4] = scribble[20, 40] = 3
    drawn, same = unpack(with_border(repack(scribble, mask), 0.1))
    assert np.array_equal(same, mask) and drawn[0, 4] == drawn[20, 40] == 3
    assert (drawn[4:36, 8:72] == scribble[4:36, 8:72]).all()
    new = (drawn == 1) & (scribble == 0)
    assert new[0, 0] and new[36, 76] and new[20, 4] and not new[1].any()
    assert new.sum() == 10 * 20 - 8 * 16 - 1  # every fourth pixel of every fourth row, less the inside and a scribble
    assert np.array_equal(with_border(repack(scribble, mask), 0), repack(scribble, mask))
