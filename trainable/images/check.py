"""Whether a data set has what methods on single images need, and whether a config fits it."""

from trainable.config import ImageConfig
from trainable.data.dataset import SCRIBBLES, TRUTH, Split
from trainable.errors import UserError


def check_images(config: ImageConfig, split: Split, validation: str | None = None) -> None:
    """Raise one error that lists everything that the data set does not allow."""
    problems = []
    if not split.scribbles:
        problems.append(f"method = {config.method}: {split.root} has no {SCRIBBLES}/, which is all that methods go by")
    if not split.truth:
        problems.append(
            f"method = {config.method}: {split.root} has no {TRUTH}/ to score with; choose a method on other data, "
            "and python -m analysis predict applies it to these"
        )
    if validation is not None:
        problems.append(
            f"validation = {validation}: methods learn nothing from other images, so score them on it by "
            "python -m analysis predict and evaluate"
        )
    if problems:
        raise UserError("; ".join(problems))
