"""Predict a mask with the ensemble.onnx beside this file: python predict_onnx.py IMAGE [SCRIBBLE] MASK.png

The mask has the number of each pixel's class, 0 and 1 for two classes, as `predict` writes it.
Models that see the image alone need no scribble. Needs only numpy, pillow and onnxruntime.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

HERE = Path(__file__).parent
BLACK_AND_WHITE = ((0, 0, 0), (255, 255, 255))
COLOURS = (
    *((0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0)),
    *((204, 121, 167), (146, 108, 214), (120, 200, 80), (255, 140, 160), (0, 200, 200), (160, 90, 40)),
    *((200, 200, 200), (255, 90, 220)),
)


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
        save_mask(probability[0].argmax(0), COLOURS[: probability.shape[1]], mask)
    else:
        save_mask(probability[0] > made["tau"], BLACK_AND_WHITE, mask)


def save_mask(labels: np.ndarray, colours: Sequence[tuple[int, int, int]], path: str) -> None:
    """Write the number of each pixel's class, from 0; viewers show its colour."""
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette([value for colour in colours for value in colour])
    picture.save(path)


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
