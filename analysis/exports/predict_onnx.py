"""Predict a mask with the ensemble.onnx beside this file: python predict_onnx.py IMAGE SCRIBBLE MASK.png

Needs only numpy, pillow and onnxruntime.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

HERE = Path(__file__).parent


def main(image: str, scribble: str, mask: str) -> None:
    colours, marks = read_image(image), np.asarray(Image.open(scribble))
    pixels = np.dstack([colours, marks[..., 0] if marks.ndim == 3 else marks]).astype(np.uint8)
    session = onnxruntime.InferenceSession(str(HERE / "ensemble.onnx"), providers=["CPUExecutionProvider"])
    (probability,) = session.run(["probability"], {"pixels": pixels[None]})
    tau = json.loads((HERE / "ensemble.json").read_text())["tau"]
    Image.fromarray((probability[0] > tau).astype(np.uint8) * 255).save(mask)


def read_image(path: str) -> np.ndarray:
    """Read RGB bytes; grey images with more than 8 bits are stretched as in training."""
    image: Image.Image = Image.open(path)
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        low, high = np.percentile(values, (0.1, 99.9))
        image = Image.fromarray(np.rint(np.clip((values - low) / max(high - low, 1.0), 0, 1) * 255).astype(np.uint8))
    return np.asarray(image.convert("RGB"))


if __name__ == "__main__":
    main(*sys.argv[1:])
