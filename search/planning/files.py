"""What the configs of a space need besides its labelled images: splits without labels, files of weights."""

from typing import Any

from spaces.schema.parameters import Choice
from spaces.space import Space
from trainable.config import IMAGENET
from trainable.errors import UserError
from trainable.storage.shared_file import SharedFile, open_shared


def unlabelled_splits(space: Space) -> tuple[str, ...]:
    """The splits whose images some config adds to pre-training."""
    return tuple(sorted({name for value in _values(space, "pretraining_data") for name in str(value).split(",")}))


def weights_names(space: Space) -> list[str]:
    """The paths and URLs of the files that encoders start from."""
    return [str(value) for value in _values(space, "encoder_weights") if value != IMAGENET]


def weights_files(space: Space) -> dict[str, SharedFile]:
    """These files by their names; raises if one cannot be read."""
    try:
        return {name: open_shared(name) for name in weights_names(space)}
    except UserError as error:
        raise UserError(f"encoder_weights: {error}; allowed are none, imagenet, a file or s3://BUCKET/NAME") from None


def _values(space: Space, name: str) -> list[Any]:
    """All values that a hyperparameter has in some config, apart from none."""
    named = space.parameters.get(name)
    values = named.values if isinstance(named, Choice) else [space.constants.get(name)]
    return [value for value in values if value is not None]
