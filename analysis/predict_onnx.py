"""A mask from ensemble.onnx beside this file: python predict_onnx.py IMAGE SCRIBBLE MASK.png

Needs numpy, pillow and onnxruntime, and nothing of the project that the ensemble comes from.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

HERE = Path(__file__).parent


def main(image: str, scribble: str, mask: str) -> None:
    colours, marks = np.asarray(Image.open(image).convert("RGB")), np.asarray(Image.open(scribble))
    pixels = np.dstack([colours, marks[..., 0] if marks.ndim == 3 else marks]).astype(np.uint8)
    session = onnxruntime.InferenceSession(str(HERE / "ensemble.onnx"), providers=["CPUExecutionProvider"])
    (probability,) = session.run(["probability"], {"pixels": pixels[None]})
    tau = json.loads((HERE / "ensemble.json").read_text())["tau"]
    Image.fromarray((probability[0] > tau).astype(np.uint8) * 255).save(mask)


if __name__ == "__main__":
    main(*sys.argv[1:])
