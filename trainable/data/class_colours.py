"""The colours of masks, pictures and reports: the same thing has the same colour in all of them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from trainable.data.dataset import IGNORED, Pixels
from trainable.data.task import Task

# Distinguishable by people with colour blindness as far as fifteen colours can be; the first is the background.
COLOURS = (
    *((0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0)),
    *((204, 121, 167), (146, 108, 214), (120, 200, 80), (255, 140, 160), (0, 200, 200), (160, 90, 40)),
    *((200, 200, 200), (255, 90, 220)),
)
IGNORED_COLOUR = (90, 90, 90)
WHITE = (255, 255, 255)
# Two classes: scribbles, and masks compared with the truth. A missed pixel has the colour of the truth's outline.
FOREGROUND_SCRIBBLE, BACKGROUND_SCRIBBLE = (255, 150, 30), (70, 130, 255)
TRUTH, INVENTED, RIGHT = (0, 215, 190), (230, 60, 170), WHITE
# Two configs side by side, also the curves of a report.
CONFIG_A, CONFIG_B = (150, 110, 245), (250, 215, 50)
Legend = tuple[tuple[str, tuple[int, int, int]], ...]
SCRIBBLES_LEGEND: Legend = (("foreground scribble", FOREGROUND_SCRIBBLE), ("background scribble", BACKGROUND_SCRIBBLE))
ERROR_LEGEND: Legend = (("right", RIGHT), ("missed (false negative)", TRUTH), ("invented (false positive)", INVENTED))


def palette(classes: int) -> list[int]:
    """A palette for PNG files whose values are classes; 255 is grey."""
    colours = [*COLOURS[:classes], *[(0, 0, 0)] * (255 - classes), IGNORED_COLOUR]
    return [value for colour in colours for value in colour]


def palette_image(mask: Pixels, classes: int) -> Image.Image:
    """A mask as a picture that stores its classes and shows their colours."""
    picture = Image.fromarray(mask)
    picture.putpalette(palette(classes))
    return picture


def coloured(mask: Pixels) -> Pixels:
    """Height x width x 3 of the colours of a mask in memory, whose ignored pixels are grey."""
    table = np.array([*COLOURS, IGNORED_COLOUR], np.uint8)
    return np.asarray(table[np.minimum(mask, IGNORED)])


def errors(mask: Pixels, truth: Pixels, task: Task) -> Pixels:
    """Where a mask is right and wrong, of the pixels that are scored.

    Of more than two classes, the colours of the predicted ones, dimmed where they are right, and white where a
    structure was missed.
    """
    if task.binary:
        drawn = np.zeros((*truth.shape, 3), np.uint8)
        drawn[(mask > 0) & (truth == 1)] = RIGHT
        drawn[(mask == 0) & (truth == 1)] = TRUTH
        drawn[(mask > 0) & (truth == 0)] = INVENTED
        return drawn
    drawn, wrong = coloured(mask) // 4, (mask != truth) & (truth < len(task.classes))
    drawn[wrong] = coloured(mask)[wrong]
    drawn[wrong & (mask == 0)] = WHITE
    return drawn


def names_with_colours(classes: Sequence[str]) -> list[tuple[str, tuple[int, int, int]]]:
    """For a legend: every class but the first."""
    return list(zip(classes[1:], COLOURS[1:], strict=False))
