"""``python -m trainable import``: turn data of another format into a split of a data set."""

from pathlib import Path
from typing import Annotated

import typer

Form = Annotated[str, typer.Argument(metavar="FORMAT", help="acdc-h5, nifti or voc.")]
SourceFolder = Annotated[Path, typer.Argument(metavar="SOURCE", help="The folder with data in that format.")]
NewFolder = Annotated[Path, typer.Argument(metavar="DIR", help="The data set to create or to add a split to.")]
NewSplit = Annotated[str, typer.Option(help="The split that is written.")]
Classes = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...|FILE",
        help="2 to 15 classes by value, the background first, or a text file with one per line. acdc-h5: "
        "background,RV,MYO,LV by default. voc: the classes to keep; others become background.",
    ),
]
Scribbles = Annotated[
    str | None,
    typer.Option(help="nifti: a folder or pattern (default: scribbles/). voc: a folder of PNGs, 255 = unlabelled."),
]

# Of nifti alone.
Images = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN", help="nifti: a folder, or a pattern such as images/{id}_DE.nii.gz (default: images/)."
    ),
]
Labels = Annotated[
    str | None, typer.Option(metavar="PATTERN", help="nifti: the masks, as for --images (default: labels/).")
]
PixelSize = Annotated[
    float | None, typer.Option(metavar="MM", help="nifti: resample slices to square pixels of this size.")
]
Crop = Annotated[
    str | None, typer.Option(metavar="WIDTHxHEIGHT", help="nifti: crop or pad slices around their centre.")
]
Window = Annotated[
    str | None,
    typer.Option(
        metavar="LOW,HIGH", help="nifti: percentiles of a volume that become black and white (default: 0.5,99.5)."
    ),
]
Axis = Annotated[int | None, typer.Option(min=0, max=2, help="nifti: the slice axis (default: 2).")]
Unlabelled = Annotated[
    int | None,
    typer.Option(help="nifti: the value of unlabelled pixels in scribbles (default: the number of classes)."),
]
Group = Annotated[
    str | None,
    typer.Option(metavar="REGEX", help="nifti: the part of an id that names its group (default: the whole id)."),
]

# Of voc alone.
Names = Annotated[
    Path | None, typer.Option(metavar="FILE", help="voc: the names of mask values, one per line (default: VOC's 21).")
]
ImageSet = Annotated[
    str | None, typer.Option(help="voc: the list in ImageSets/Segmentation (default: the name of the split).")
]


def import_data(
    form: Form,
    source: SourceFolder,
    folder: NewFolder,
    split: NewSplit = "train",
    classes: Classes = None,
    scribbles: Scribbles = None,
    images: Images = None,
    labels: Labels = None,
    pixel_size: PixelSize = None,
    crop: Crop = None,
    window: Window = None,
    axis: Axis = None,
    unlabelled: Unlabelled = None,
    group: Group = None,
    names: Names = None,
    image_set: ImageSet = None,
) -> None:
    """Turn data of another format into a split of a data set. After an interruption, the same command continues.

    NIfTI volumes are cut along the slice axis, and each slice is transposed: the first of the two other axes
    of the array goes right, the second one down. Labels belong to an image if their name is the image's, optionally
    followed by something like `_manual`, or if both have the same {id}.

    Example: python -m trainable import acdc-h5 ACDC data/acdc
    """
    from trainable.data.importers import command

    command.import_data(
        command.Request(
            form=form,
            source=source,
            folder=folder,
            split=split,
            classes=classes,
            images=images,
            labels=labels,
            scribbles=scribbles,
            pixel_size=pixel_size,
            crop=crop,
            window=window,
            axis=axis,
            unlabelled=unlabelled,
            group=group,
            names=names,
            image_set=image_set,
        )
    )
