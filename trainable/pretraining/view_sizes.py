"""The sizes of the views that a stage sees, without torch."""

from trainable.config import STRIDE

Size = tuple[int, int]


def view_sizes(size: Size) -> tuple[Size, Size]:
    """The (width, height) of large and small views: a half and a quarter of the working size."""
    return _fraction(size, 2), _fraction(size, 4)


def _fraction(size: Size, parts: int) -> Size:
    width, height = (max(STRIDE, round(side / parts / STRIDE) * STRIDE) for side in size)
    return width, height
