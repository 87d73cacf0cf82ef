"""Predict masks with an ensemble: streamed, batched by size, resumable; a bad image is skipped."""

import hashlib
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from analysis.ensembles.ensemble import FILE, MANIFEST, Flips, load_ensemble
from analysis.ensembles.fingerprints import SEEN, fingerprint, unrecognised
from analysis.ensembles.inputs import Input, find_inputs
from analysis.ensembles.methods import REBUILD
from analysis.ensembles.prediction import Predictor
from analysis.ensembles.prediction_record import AGAIN, FULL, PROBABILITIES, RECORD
from analysis.refinement.chain import Chain, as_rows
from analysis.refinement.steps.scribbles import Scribbles
from search.runs.run_folder import SPACE
from trainable.data.class_colours import palette_image
from trainable.data.dataset import UNLABELLED, BadFile, Pixels
from trainable.data.task import read_task
from trainable.errors import UserError
from trainable.machine.device import is_out_of_memory, pick_device
from trainable.printing import Progress
from trainable.storage.atomic_files import remove_partial, write_atomically
from trainable.storage.checked_json import read_checked, write_checked

READERS = 4
PENDING = 4  # batches of images that may wait for others of their size
FOLDERS = "folders"  # of the images, in the record

Probability = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Request:
    """The options of a prediction."""

    ensemble: Path
    images: tuple[Path, ...]
    scribbles: Path | None
    out: Path
    probabilities: bool
    respect_scribbles: bool
    tta: Flips | None
    batch: int
    device: str
    refine: bool = True
    force: bool = False


@dataclass
class Predicted:
    """The result; ``seen`` are images that members were trained on, ``refinement`` is what was applied.

    ``unrecognised`` says why others may have been trained on as well.
    """

    written: int
    kept: int
    problems: list[BadFile]
    seen: list[str]
    refinement: Chain
    unrecognised: str


def predict(request: Request, progress: Progress) -> Predicted:
    """Write the missing masks."""
    ensemble = load_ensemble(request.ensemble, pick_device(request.device), request.tta, request.refine)
    if not request.force:
        _check_out(request.out)
    needed = ensemble.sees_scribbles
    used = needed or request.respect_scribbles or any(isinstance(step, Scribbles) for step in ensemble.refinement)
    inputs, problems = find_inputs(request.images, request.scribbles, needed, used)
    waiting = [each for each in inputs if not (request.out / f"{each.stem}.png").exists()]
    _check_classes(ensemble, waiting)
    record = _Record(request, ensemble, _folders(inputs), _folders(set(inputs) - set(waiting)))
    remove_partial(request.out)
    trained_on, why = _trained_on(request.ensemble)
    done = Predicted(0, len(inputs) - len(waiting), problems, [], ensemble.refinement, why)
    for batch in _batches(waiting, request.batch, problems, ensemble):
        pixels = np.stack([image for _, image in batch])
        record.add_seen(source.stem for source, image in batch if fingerprint(_as_read(image[..., :-1])) in trained_on)
        for (source, image), probability in zip(batch, _probabilities(ensemble, pixels), strict=True):
            _write(request, ensemble, source, image, probability)
        done.written += len(batch)
        progress(done.written + len(problems), len(waiting) + len(problems))
    done.seen = sorted(record.seen)
    return done


def _check_out(out: Path) -> None:
    """Refuse to mix masks with the files of an ensemble or of a run."""
    if found := [name for name in (FILE, MANIFEST, SPACE) if (out / name).exists()]:
        raise UserError(f"--out {out}: contains {found[0]}, so it is no folder of masks; --force writes there anyway")


def _check_classes(ensemble: Predictor, inputs: Sequence[Input]) -> None:
    """Refuse scribbles of more or fewer classes, or in another order: their values would be read as the ensemble's."""
    for folder in {each.scribble.parent for each in inputs if each.scribble}:
        data = folder.resolve().parent.parent
        task, own = read_task(data), ensemble.classes
        classes = task.classes
        if task.declared and (len(classes) != len(own) or (classes != own and sorted(classes) == sorted(own))):
            raise UserError(
                f"{data}: its classes are {', '.join(classes)}, those of the ensemble {', '.join(own)}, "
                "so its scribbles would be misread"
            )


def _folders(inputs: Iterable[Input]) -> set[str]:
    return {str(folder.resolve()) for folder in {each.image.parent for each in inputs}}


def _probabilities(ensemble: Predictor, pixels: Pixels) -> Probability:
    """Predict one batch; if the device runs out of memory, the batch is halved until it fits."""
    try:
        return ensemble.probabilities(pixels)
    except (RuntimeError, MemoryError) as error:
        if len(pixels) == 1 or not is_out_of_memory(error):
            raise
    half = len(pixels) // 2
    return np.concatenate([_probabilities(ensemble, pixels[:half]), _probabilities(ensemble, pixels[half:])])


def _as_read(image: Pixels) -> Pixels:
    """The image as fingerprints are taken of it: grey ones with three equal channels."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def _batches(
    inputs: Sequence[Input], size: int, problems: list[BadFile], ensemble: Predictor
) -> Iterator[list[tuple[Input, Pixels]]]:
    """Batches of images of one size, read ahead by threads; the number of waiting images is bounded."""
    waiting: dict[tuple[int, ...], list[tuple[Input, Pixels]]] = defaultdict(list)
    for source, image in _read_ahead(inputs, READERS + size, problems, ensemble):
        group = waiting[image.shape]
        group.append((source, image))
        crowded = sum(map(len, waiting.values())) >= PENDING * size
        if len(group) == size or crowded:
            yield waiting.pop(image.shape if len(group) == size else max(waiting, key=lambda s: len(waiting[s])))
    yield from waiting.values()


def _read_ahead(
    inputs: Sequence[Input], ahead: int, problems: list[BadFile], ensemble: Predictor
) -> Iterator[tuple[Input, Pixels]]:
    queue: deque[tuple[Input, Future[Pixels]]] = deque()
    with ThreadPoolExecutor(READERS) as pool:
        rest = iter(inputs)
        while True:
            while len(queue) < ahead and (source := next(rest, None)) is not None:
                queue.append((source, pool.submit(source.read, ensemble.task, ensemble.channels)))
            if not queue:
                return
            source, future = queue.popleft()
            try:
                yield source, future.result()
            except BadFile as problem:
                problems.append(problem)


def _write(request: Request, ensemble: Predictor, source: Input, image: Pixels, probability: Probability) -> None:
    if request.probabilities:
        values = np.round(probability * FULL).astype(np.uint16)
        # Of several classes, their maps lie below each other, in the order of the classes.
        _save(Image.fromarray(values.reshape(-1, values.shape[-1])), request.out / PROBABILITIES / f"{source.stem}.png")
    mask = ensemble.mask_of(probability, image[..., :-1], image[..., -1])
    if request.respect_scribbles:
        labelled = image[..., -1] != UNLABELLED
        mask[labelled] = image[..., -1][labelled]
    if len(ensemble.classes) == 2:
        picture = Image.fromarray(mask, mode="P")
        picture.putpalette([0, 0, 0, 255, 255, 255])  # the values are 0 and 1, displayed as black and white
    else:
        picture = palette_image(mask, len(ensemble.classes))
    _save(picture, request.out / f"{source.stem}.png")


def _save(picture: Image.Image, path: Path) -> None:
    write_atomically(path, lambda file: picture.save(file, format="PNG"))


class _Record:
    """Records the origin of the masks beside them, so that different masks are never mixed."""

    def __init__(self, request: Request, ensemble: Predictor, folders: set[str], kept: set[str]) -> None:
        """``folders`` are those of all images, ``kept`` those of images whose mask is there already."""
        file = request.ensemble
        if file.is_dir():
            file = file / (FILE if (file / FILE).exists() else MANIFEST)
        self.path = request.out / RECORD
        self.made_by: dict[str, Any] = {
            "ensemble": _hash(file),
            "tta": ensemble.tta,
            "respect_scribbles": request.respect_scribbles,
            "probabilities": request.probabilities,
        }
        if ensemble.refinement:
            self.made_by["refinement"] = as_rows(ensemble.refinement)
        self.file, self.tau, self.classes, self.seen = str(file), ensemble.tau, ensemble.classes, set[str]()
        self.folders = folders
        if self.path.exists():
            before = read_checked(self.path, f"{AGAIN} into another folder")
            made_by = before["made_by"]
            if made_by["tta"] is None and request.tta is None:  # version 0.2 recorded the option, not its effect
                made_by["tta"] = ensemble.tta
            if made_by != self.made_by:
                raise UserError(f"{request.out}: contains masks of another ensemble or other options; choose another")
            self.seen = set(before["seen"])
            known = set(before.get(FOLDERS, self.folders))  # version 0.2 did not record them
            if others := kept - known:
                raise UserError(
                    f"{request.out}: contains masks of the same names from images in {', '.join(sorted(known))}, not "
                    f"{', '.join(sorted(others))}; choose another folder"
                )
            self.folders |= known
        elif request.out.is_dir() and any(request.out.glob("*.png")):
            raise UserError(f"{request.out}: contains images that this program did not write; choose another folder")
        self._write()

    def add_seen(self, stems: Iterable[str]) -> None:
        """Record training images before their masks exist, so that an interruption leaves none that could be scored."""
        self.seen.update(stems)
        self._write()

    def _write(self) -> None:
        facts = {"made_by": self.made_by, "file": self.file, "tau": self.tau, "classes": list(self.classes)}
        write_checked(self.path, {**facts, FOLDERS: sorted(self.folders), "seen": sorted(self.seen)})


def _hash(file: Path) -> str:
    if not file.exists():
        raise UserError(f"{file}: no such ensemble; python -m analysis ensemble RUN makes one")
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _trained_on(ensemble: Path) -> tuple[dict[str, str], str]:
    """The training images by their fingerprints, and why some are missing."""
    path = (ensemble if ensemble.is_dir() else ensemble.parent) / MANIFEST
    if not path.exists():
        return {}, f"there is no {MANIFEST} beside the ensemble, so its training images are not recognised"
    manifest = read_checked(path, REBUILD)
    return dict(manifest[SEEN]), unrecognised(manifest)
