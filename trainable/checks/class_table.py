"""How much of each class a data set shows, as a table for people."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ClassFacts:
    """How much of a class there is. Shares are of all mask pixels but ignored ones, and of all pixels of images with
    a scribble; None if there are none of these.
    """

    name: str
    mask_share: float | None
    mask_images: int
    scribble_share: float | None
    scribble_images: int


def class_table(classes: Sequence[ClassFacts]) -> Iterator[str]:
    """A blank line, then aligned columns: names to the left, figures to the right."""
    if not classes:
        return
    yield ""
    rows = [("class", "of mask pixels", "in images", "scribbled", "in images")]
    for one in classes:
        mask, scribble = (
            ("-", "-") if share is None else (f"{share:.2%}", f"{images:,}")
            for share, images in ((one.mask_share, one.mask_images), (one.scribble_share, one.scribble_images))
        )
        rows.append((one.name, *mask, *scribble))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *figures in rows:
        yield "  " + "  ".join([name.ljust(widths[0]), *(f.rjust(w) for f, w in zip(figures, widths[1:], strict=True))])
