"""Dice coefficients computed from masks, without confusion matrices."""

from collections import defaultdict

import numpy as np


def dice(mask, truth, label, known=None):
    """Of arrays of any dimension; None if neither shows the class."""
    known = np.ones(truth.shape, bool) if known is None else known
    ours, theirs = (mask == label) & known, (truth == label) & known
    total = int(ours.sum()) + int(theirs.sum())
    return 2 * int((ours & theirs).sum()) / total if total else None


def dice_of_volumes(masks, truths, volume_of, labels):
    """The Dice coefficient per volume and class of slices stacked to volumes; the three are keyed by stem."""
    slices = defaultdict(list)
    for stem in sorted(truths):
        slices[volume_of[stem]].append(stem)
    return {
        volume: {
            label: dice(np.stack([masks[stem] for stem in stems]), np.stack([truths[stem] for stem in stems]), label)
            for label in labels
        }
        for volume, stems in slices.items()
    }


def mean_of_known(values):
    known = [value for value in values if value is not None]
    return sum(known) / len(known)
