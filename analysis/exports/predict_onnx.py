"""Predict a mask with the ensemble.onnx beside this file: python predict_onnx.py IMAGE [SCRIBBLE] MASK.png

Models that see the image alone need no scribble. Needs only numpy, pillow and onnxruntime.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

HERE = Path(__file__).parent


def main(image: str, *scribble_and_mask: str) -> None:
    *scribble, mask = scribble_and_mask
    made = json.loads((HERE / "ensemble.json").read_text())
    colours = read_image(image, made.get("channels", 3))
    if scribble:
        marks = np.asarray(Image.open(scribble[0]))
    elif all(config.get("inputs") == "image" for config in made["configs"].values()):
        marks = np.full(colours.shape[:2], 255)
    else:
        sys.exit("this model sees scribbles: python predict_onnx.py IMAGE SCRIBBLE MASK.png")
    pixels = np.dstack([colours, marks[..., 0] if marks.ndim == 3 else marks]).astype(np.uint8)
    session = onnxruntime.InferenceSession(str(HERE / "ensemble.onnx"), providers=["CPUExecutionProvider"])
    (probability,) = session.run(["probability"], {"pixels": pixels[None]})
    if probability.ndim == 4:  # a probability per class; the mask holds the number of the most probable one
        Image.fromarray(probability[0].argmax(0).astype(np.uint8)).save(mask)
    else:
        Image.fromarray((probability[0] > made["tau"]).astype(np.uint8) * 255).save(mask)


def read_image(path: str, channels: int) -> np.ndarray:
    """Read RGB or grey bytes; grey images with more than 8 bits are stretched as in training."""
    image: Image.Image = Image.open(path)
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        low, high = np.percentile(values, (0.1, 99.9))
        image = Image.fromarray(np.rint(np.clip((values - low) / max(high - low, 1.0), 0, 1) * 255).astype(np.uint8))
    return np.asarray(image.convert("L" if channels == 1 else "RGB"))


if __name__ == "__main__":
    main(*sys.argv[1:])
