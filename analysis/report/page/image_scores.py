"""The score of every held-out image by each of the best configs, and small pictures of the images they do worst on."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.report.image_panels import jpeg_url
from analysis.report.images import labelled, score_name, scores_of_images
from search.runs.run_tables import RunTables
from trainable.augmentation.preview import overlay
from trainable.data.class_colours import SCRIBBLES_LEGEND, TRUTH, names_with_colours
from trainable.data.image_files import ImageFiles
from trainable.data.packed_labels import pack
from trainable.errors import UserError

CONFIGS = 40  # with scores of images, the best ones
SHOWN = 8  # of each config, the worst
PICTURES, WIDTH = 60, 170  # pictures at most, those that most configs do badly on, and their width in pixels


def image_scores(tables: RunTables, order: Sequence[str]) -> dict[str, Any]:
    """``scores`` has the worst image first; ``why`` says why there are none. ``order``: configs, the best first."""
    counted = tables.images(order[:CONFIGS], "best", "original")
    if counted.empty:
        return {"why": "No counts of held-out images are in the fold folders."}
    counted = counted.assign(score=scores_of_images(tables, counted)).dropna(subset="score")
    counted = counted.sort_values(["score", "stem"], ignore_index=True)
    stems = {stem: number for number, stem in enumerate(sorted(set(counted["stem"])))}
    scores = {
        str(config): [
            [stems[stem], fold, round(score, 4)]
            for stem, fold, score in zip(rows["stem"], rows["fold"], rows["score"], strict=True)
        ]
        for config, rows in counted.groupby("config", sort=False)
    }
    names = list(stems)
    worst = Counter(names[place] for rows in scores.values() for place, _, _ in rows[:SHOWN])
    legend = [*SCRIBBLES_LEGEND, ("outline of the truth", TRUTH)]
    if not tables.task.binary:
        legend = names_with_colours(tables.task.classes)
    pictures = _pictures(tables, [stem for stem, _ in worst.most_common(PICTURES)])
    return {"metric": score_name(tables), "stems": names, "scores": scores, "thumbs": pictures, "legend": legend}


def _pictures(tables: RunTables, stems: Sequence[str]) -> dict[str, str]:
    """Images with their scribbles and the outline of the truth, if this machine has the data of the run."""
    split = labelled(tables)
    if isinstance(split, str):
        return {}
    files, pictures = ImageFiles(split), {}
    for stem in stems:
        try:
            image, scribble = files.read(stem)
            truth = files.mask(stem, image) if stem in split.truth else np.zeros(image.shape[:2], np.uint8)
        except (UserError, KeyError):
            continue  # an image that a later data set lacks has no picture
        drawn = overlay(image, pack(scribble, np.minimum(truth, 15)), len(split.task.classes))
        pictures[stem] = jpeg_url(drawn, WIDTH)
    return pictures
