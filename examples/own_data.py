"""Own data end to end: write it in the format, search, average the winner's fold models, segment a new image.

    python examples/own_data.py

It takes two minutes on two cores and writes into the working folder: data/own, runs/own-data and own_data.png. Replace
``my_images`` by a function that reads your images, their strokes and their masks.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from analysis import build_ensemble, load_ensemble, select
from search import launch, open_run

BACKGROUND, FOREGROUND, UNLABELLED = 0, 1, 255
DATA = Path("data", "own")
SPACE = {
    "name": "own-data",
    "data": str(DATA),
    "folds": 3,
    "parameters": {
        "architecture": "unet-plain",
        "width": 8,
        "depth": 3,
        "loss": {"values": ["iou", "dice"]},
        "learning_rate": {"values": [0.003, 0.01]},
        "batch_size": 8,
        "steps": 80,
        "evaluations": 8,
        "ema": 0.9,
    },
    "resources": {"gpu": 0},  # leave it out where there are GPUs
}
Strokes = list[tuple[int, list[tuple[float, float]]]]  # the class of each stroke and its points


def my_images(count: int, seed: int = 0) -> Iterator[tuple[Image.Image, Strokes, Image.Image]]:
    """Stands for your data: a bright leaf on soil, two strokes as an annotator draws them, and a mask of 0 and 1."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        x, y, long, wide = rng.uniform((38, 30, 20, 10), (58, 50, 30, 18))
        mask = Image.new("L", (96, 80))
        ImageDraw.Draw(mask).ellipse((x - long, y - wide, x + long, y + wide), fill=1)
        mask = mask.rotate(rng.uniform(-40, 40), center=(x, y))
        leaf = np.asarray(mask)[..., None] * np.array([20, 70, -10])
        noise = rng.normal(0, 30, (80, 96, 3))
        image = Image.fromarray((np.array([110, 90, 70]) + leaf + noise).clip(0, 255).astype(np.uint8))
        strokes: Strokes = [(FOREGROUND, [(x - 6, y), (x + 6, y + 2)]), (BACKGROUND, [(4, 4), (48, 3), (92, 6)])]
        yield image.filter(ImageFilter.GaussianBlur(0.7)), strokes, mask


def scribble_of(strokes: Strokes, size: tuple[int, int]) -> Image.Image:
    """The class under each stroke, and 255 everywhere else."""
    scribble = Image.new("L", size, UNLABELLED)
    for label, points in strokes:
        ImageDraw.Draw(scribble).line(points, fill=label, width=2)
    return scribble


def write_data(folder: Path, count: int = 24) -> None:
    """The format: files of one stem in three folders. ``python -m trainable doctor`` lists what is wrong with it."""
    for number, (image, strokes, mask) in enumerate(my_images(count)):
        files = {"images": image, "scribbles": scribble_of(strokes, image.size), "ground_truth": mask}
        for name, file in files.items():
            path = folder / "train" / name / f"leaf_{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            file.save(path)


def picture(image: Image.Image, scribble: Image.Image, mask: np.ndarray) -> Image.Image:
    """The image, its scribble on it, and the predicted mask, side by side."""
    marks = np.asarray(scribble)
    marked = np.asarray(image).copy()
    marked[marks == FOREGROUND], marked[marks == BACKGROUND] = (255, 220, 0), (0, 140, 255)
    panels = np.hstack([np.asarray(image), marked, np.repeat(mask[..., None] * 255, 3, axis=2).astype(np.uint8)])
    return Image.fromarray(panels).resize((3 * panels.shape[1], 3 * panels.shape[0]), Image.Resampling.NEAREST)


def main() -> None:
    write_data(DATA)
    launch(SPACE)
    run = open_run("own-data")
    selection = select(run)
    print(f"{run.status.state}; the winner is {selection.winner.config}, {selection.winner.values}")

    ensemble = load_ensemble(build_ensemble(run))
    ((image, strokes, truth),) = my_images(1, seed=1)  # a new image, with strokes
    scribble = scribble_of(strokes, image.size)
    mask, _ = ensemble.predict(np.asarray(image), np.asarray(scribble))
    right = np.asarray(truth) == mask
    print(f"{right.mean():.1%} of the pixels of a new image are right")
    picture(image, scribble, mask).save("own_data.png")


if __name__ == "__main__":  # a search starts processes that import this file
    main()
