"""Build a folder that holds everything benchmarks/gpu.py needs on a machine without a network.

    python benchmarks/gpu_bundle.py DATA --out runs/gpu_bundle
    bash runs/gpu_bundle/run.sh --minutes 9            # there: installs and starts

The machine needs Python 3.12 with torch, torchvision, timm, pandas, pyarrow, OpenCV, pydantic, typer, rich,
huggingface_hub, scikit-learn, scipy and PyYAML. The folder brings wheels of the rest, the sources, and the data: the
training split at 480x352 (JPEG), so that it fits, and the splits to predict as they are. Results are written below
--results of benchmarks/gpu.py, by default in the folder's results/.
"""

import argparse
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import COMMIT, commit
from trainable.data import dataset
from trainable.data.dataset import Split, open_split
from trainable.data.groups import GROUPS
from trainable.data.reading import read_image
from trainable.data.task import FILE as TASK
from trainable.errors import UserError
from trainable.exit_codes import run
from trainable.printing import progress_bar, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parents[1]
ROOMS = ("analysis", "cluster", "search", "spaces", "trainable")
PACKAGES = ("segmentation-models-pytorch", "albumentations", "albucore", "stringzilla", "simsimd")
PYTHON, PLATFORMS = "3.12", ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
SIZE, QUALITY = (480, 352), 92
LARGEST = 60 * 2**20
NOTE = "bundle.json"  # beside the splits: what was done to the data
RUN = """#!/usr/bin/env bash
# Install what is missing into this folder and start the benchmark; all arguments are its options.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
python="${PYTHON:-python3}"
[ -d "$here/site" ] || "$python" -m pip install --quiet --no-index --no-deps --target "$here/site" "$here"/wheels/*.whl
export PYTHONPATH="$here/site:$here/sources${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1 NO_ALBUMENTATIONS_UPDATE=1
exec "$python" "$here/sources/benchmarks/gpu.py" "$here/data" --cache "$here/cache" --results "$here/results" \\
  --out "$here/folds" "$@"
"""


def build(data: Path, out: Path) -> int:
    """Build the folder and return its size in bytes."""
    if out.exists():
        raise UserError(f"{out}: exists already; remove it or choose another --out")
    out.mkdir(parents=True)
    fetch_wheels(out / "wheels")
    copy_sources(out / "sources")
    copy_data(data, out / "data")
    script = out / "run.sh"
    script.write_text(RUN)
    script.chmod(0o755)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    if size > LARGEST:
        raise UserError(f"{out}: has {size / 2**20:.1f} MiB, more than {LARGEST / 2**20:.0f}; use a smaller data set")
    return size


def fetch_wheels(folder: Path) -> None:
    """The packages that the machine lacks, in the versions that are installed here."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--python-version", PYTHON, "--dest", str(folder)]
    command += [word for platform in PLATFORMS for word in ("--platform", platform)]
    command += [f"{name}=={version(name)}" for name in PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"pip cannot download the wheels: {done.stderr.strip().splitlines()[-1]}")


def copy_sources(folder: Path) -> None:
    def unwanted(_: str, names: list[str]) -> set[str]:
        return {name for name in names if name in ("__pycache__", "results", "tables")}

    for room in (*ROOMS, "benchmarks"):
        shutil.copytree(HOME / room, folder / room, ignore=unwanted)
    (folder / "benchmarks" / COMMIT).write_text(commit() or "")


def copy_data(data: Path, folder: Path) -> None:
    train = open_split(data, "train")
    with progress_bar(f"resizing {len(train.stems)} images") as progress, ThreadPoolExecutor() as pool:
        for done, _ in enumerate(pool.map(lambda stem: _resize(train, stem, folder / "train"), train.stems), 1):
            progress(done, len(train.stems))
    for path in (data / TASK, train.root / GROUPS, train.volumes_file):  # classes, and which images stay together
        if path is not None and path.exists():
            shutil.copyfile(path, folder / path.relative_to(data))
    others = [each for each in sorted(data.iterdir()) if each.name != "train" and (each / "images").is_dir()]
    for split in others:
        shutil.copytree(split, folder / split.name)
    width, height = SIZE
    write_json(
        folder / NOTE,
        {
            "train": f"resized to {width}x{height}: images by Lanczos, JPEG of quality {QUALITY}; labels by nearest",
            **{split.name: "as it is" for split in others},
        },
    )


def _resize(split: Split, stem: str, folder: Path) -> None:
    image = Image.fromarray(read_image(split.images[stem]))
    _save(image.resize(SIZE, Image.Resampling.LANCZOS), folder / "images" / f"{stem}.jpg")
    for name, files in (("scribbles", split.scribbles), (dataset.TRUTH, split.truth)):
        labels = Image.open(files[stem])
        small = labels.resize(SIZE, Image.Resampling.NEAREST)
        assert set(np.unique(small)) <= set(np.unique(labels))
        _save(small, folder / name / f"{stem}.png")


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=QUALITY, optimize=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a data set with train/ and a split without truth")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu_bundle"), help="the folder to build")
    options = parser.parse_args()
    size = build(options.data, options.out)
    say(f"{options.out}: {size / 2**20:.1f} MiB. There: bash {options.out.name}/run.sh --minutes 9")
    return 0


if __name__ == "__main__":
    run(main)
