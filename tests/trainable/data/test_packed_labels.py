import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trainable.data.dataset import IGNORED, UNLABELLED
from trainable.data.packed_labels import pack, repack, unpack, without_mask

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
