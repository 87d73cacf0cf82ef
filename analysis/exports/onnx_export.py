"""Export the ensemble as an ONNX file from bytes to probabilities of any image size, and verify it."""

import contextlib
import io
import logging
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from analysis.ensembles.ensemble import Ensemble
from trainable.config import Config
from trainable.data.dataset import UNLABELLED, Pixels
from trainable.errors import UserError
from trainable.networks.registry import network_of
from trainable.storage.atomic_files import write_atomically

TOLERANCE = 1e-4
OPSET = 20
SIZES = ((375, 500), (97, 131), (640, 480))  # heights and widths of the verification
INPUT, OUTPUT = "pixels", "probability"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def need_onnx(config: Config) -> None:
    """Raise an error if the network cannot be exported or a package is missing."""
    if reason := network_of(config).no_onnx:
        raise UserError(f"architecture = {config.architecture}: has no ONNX export, {reason}; --no-onnx skips the file")
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(
            f"an ONNX file needs {', '.join(missing)}: pip install 'scribble-search[onnx]' brings them; "
            "--no-onnx skips the file"
        )


def export_onnx(ensemble: Ensemble, path: Path) -> float:
    """Write the file and return its largest difference from torch, at most TOLERANCE."""
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch) / path.name
        _convert(ensemble, draft)
        difference = max(
            _difference(ensemble, draft, _sample(ensemble, number, *size)) for number, size in enumerate(SIZES)
        )
        if difference > TOLERANCE:
            raise UserError(f"{path}: differs from torch by {difference:.1e}, more than {TOLERANCE:g}; not kept")
        write_atomically(path, lambda file: file.write(draft.read_bytes()))
    return difference


def _convert(ensemble: Ensemble, path: Path) -> None:
    example = torch.from_numpy(np.stack([_sample(ensemble, 0, 120, 150), _sample(ensemble, 1, 120, 150)]))
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("height"), 2: torch.export.Dim("width")}
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                ensemble,
                (example,),
                str(path),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=(axes,),
                external_data=False,
                verbose=False,
            )
    finally:
        quiet.setLevel(level)


def _difference(ensemble: Ensemble, path: Path, pixels: Pixels) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    batch = pixels[None]
    (found,) = session.run([OUTPUT], {INPUT: batch})
    with torch.inference_mode():
        expected = ensemble(torch.from_numpy(batch)).numpy()
    return float(np.abs(found - expected).max())


def _sample(ensemble: Ensemble, seed: int, height: int, width: int) -> Pixels:
    """Noise, the hardest image for resizing, with a scribble of every class."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, ensemble.channels + 1), dtype=np.uint8)
    pixels[..., -1] = UNLABELLED
    pixels[height // 4, : width // 2, -1] = 0
    for label in range(1, len(ensemble.classes)):
        pixels[height // 2 + 2 * (label - 1), width // 3 :, -1] = label
    return pixels
