"""What the configs of a space need besides its labelled images: splits without labels, files of weights."""

from typing import Any

from spaces.schema.parameters import Choice
from spaces.space import Space
from trainable.config import IMAGENET
from trainable.errors import UserError
from trainable.images.pretrained.fold_models import FoldModels, open_fold_models
from trainable.storage.shared_file import SharedFile, open_shared


def unlabelled_splits(space: Space) -> tuple[str, ...]:
    """The splits whose images some config adds to pre-training."""
    return tuple(sorted({name for value in _values(space, "pretraining_data") for name in str(value).split(",")}))


def weights_names(space: Space) -> list[str]:
    """The paths and URLs of the files that encoders start from."""
    return [str(value) for value in _values(space, "encoder_weights") if value != IMAGENET]


def model_sources(space: Space) -> list[str]:
    """The runs whose fold models methods on single images use."""
    return [str(source) for source in _values(space, "features_from")]


def fold_models(space: Space) -> list[FoldModels]:
    """These models; raises if a run has none."""
    return [open_fold_models(source) for source in model_sources(space)]


def weights_files(space: Space) -> dict[str, SharedFile]:
    """All files of weights by their names; raises if one cannot be read."""
    models = {name: file for each in fold_models(space) for name, file in each.named().items()}
    try:
        return {name: open_shared(name) for name in weights_names(space)} | models
    except UserError as error:
        raise UserError(f"encoder_weights: {error}; allowed are none, imagenet, a file or s3://BUCKET/NAME") from None


def _values(space: Space, name: str) -> list[Any]:
    """All values that a hyperparameter has in some config, apart from none."""
    named = space.parameters.get(name)
    values = named.values if isinstance(named, Choice) else [space.constants.get(name)]
    return [value for value in values if value is not None]
