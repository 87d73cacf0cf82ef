"""The folder that is written: nothing half-written is visible, a killed import continues, other data stay untouched."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from imported_data import contents, volume, write_h5, write_slices

from trainable.data.dataset import find_splits
from trainable.data.importers import writing
from trainable.errors import UserError

NAME = "patient001_frame01"


@pytest.fixture
def source(tmp_path):
    write_slices(tmp_path / "source", NAME, volume())
    write_h5(tmp_path / "source/patient002_frame01.h5", **volume())
    return tmp_path / "source"


@pytest.fixture
def run(run_import, tmp_path, source):
    return lambda *words: run_import("acdc-h5", source, tmp_path / "out", *words)


@pytest.fixture
def kill_after(monkeypatch):
    """Writes that end like a kill after some files, with the temporary file of the next one left behind."""
    real = writing.write_atomically

    def limit(files):
        written = []

        def write(path, fill):
            if len(written) == files:
                path.parent.mkdir(parents=True, exist_ok=True)
                (path.parent / f".partial-host-1-{path.name}").write_bytes(b"half")
                raise KeyboardInterrupt
            written.append(path)
            real(path, fill)

        monkeypatch.setattr(writing, "write_atomically", write)
        return written

    return limit


@pytest.mark.parametrize("files", [0, 1, 7, 17])
def test_a_killed_import_writes_only_what_is_missing(run, tmp_path, kill_after, files):
    kill_after(files)
    assert run()[0] == 130
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"contains no split|no such folder"):
        find_splits(out)
    assert not (out / "dataset.yaml").exists()
    before = {path.name: path.stat().st_mtime_ns for path in out.rglob("[!.]*.png")}
    written = kill_after(10**6)
    assert run()[0] == 0
    assert len(written) == 18 - files
    after = contents(out)
    shutil.rmtree(out)
    assert run()[0] == 0
    assert contents(out) == after and len(before) <= files
    assert {path.split("/")[0] for path in after} == {"dataset.yaml", "train"} and len(after) == 18 + 4


def test_a_kill_before_the_last_step_loses_nothing(run, tmp_path, monkeypatch, kill_after):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("trainable.data.importers.destination.Destination.finish", killed)
        assert run()[0] == 130
    written = kill_after(10**6)
    assert run()[0] == 0 and written == []
    assert (tmp_path / "out/train/volumes.csv").exists()


def test_after_a_bad_file_is_mended_only_its_samples_are_written(run, tmp_path, source, kill_after):
    bad = source / f"{NAME}_slice_1.h5"
    good = bad.read_bytes()
    bad.write_bytes(b"none")
    assert run()[0] == 2 and not (tmp_path / "out/train").exists()
    bad.write_bytes(good)
    written = kill_after(10**6)
    assert run()[0] == 0
    assert {path.name for path in written} == {f"{NAME}_01.png"} and len(written) == 3


def test_what_is_complete_is_not_read_again(run, tmp_path, source, kill_after):
    kill_after(7)
    assert run()[0] == 130
    blank = np.zeros((6, 4), np.uint8)
    write_h5(source / f"{NAME}_slice_0.h5", image=blank + 7.0, label=blank, scribble=blank)  # would be an error
    kill_after(10**6)
    assert run()[0] == 0


def test_a_sample_that_left_the_source_leaves_the_unfinished_import(run, tmp_path, source, kill_after):
    kill_after(17)
    assert run()[0] == 130
    (source / f"{NAME}_slice_0.h5").unlink()
    kill_after(10**6)
    assert run()[0] == 0
    assert len(list((tmp_path / "out/train/images").iterdir())) == 5


def test_masks_that_left_the_source_leave_the_unfinished_import(run, tmp_path, source, kill_after):
    kill_after(17)
    assert run()[0] == 130
    arrays = {key: values for key, values in volume().items() if key != "label"}
    write_slices(source, NAME, arrays)
    write_h5(source / "patient002_frame01.h5", **arrays)
    kill_after(10**6)
    assert run()[0] == 0
    assert not (tmp_path / "out/train/ground_truth").exists()


def test_a_finished_import_is_left_alone(run, tmp_path, source):
    run()
    before = contents(tmp_path / "out")
    code, said = run()
    assert code == 0 and "all of them were there already" in said
    write_h5(source / "patient003_frame01.h5", **volume())
    code, said = run()
    assert code == 2 and "out/train: was finished, but lacks 9 files that the source now calls for" in said
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("finished", [True, False])
def test_an_import_with_other_options_is_not_mixed_in(run, run_import, tmp_path, source, kill_after, finished):
    if not finished:
        kill_after(4)
    run()
    before = contents(tmp_path / "out")
    kill_after(10**6)
    code, said = run("--classes", "background,a,b,c")
    assert code == 2 and "holds an import with classes background,RV,MYO,LV" in said and said.count("\n") == 1
    assert ("choose another --split" if finished else "remove") in said
    shutil.copytree(source, tmp_path / "other")
    code, said = run_import("acdc-h5", tmp_path / "other", tmp_path / "out")
    assert code == 2 and f"holds an import with source {source}" in said
    assert contents(tmp_path / "out") == before


def test_a_failed_import_that_wrote_nothing_leaves_the_folder_to_others(run, run_import, tmp_path):
    (tmp_path / "empty").mkdir()
    assert run_import("acdc-h5", tmp_path / "empty", tmp_path / "out")[0] == 2
    assert run()[0] == 0


@pytest.mark.parametrize("name", ["notes.txt", "train/images/mine.png", "other/thing"])
def test_a_folder_with_other_things_is_refused_and_untouched(run, tmp_path, name):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    code, said = run()
    assert code == 2 and f"contains what no import has written ({name.split('/')[0]})" in said
    assert contents(tmp_path / "out") == {name: b"mine"}


def test_a_file_in_place_of_the_folder_is_refused(run, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, said = run()
    assert code == 2 and "out: is not a folder" in said


def test_another_split_is_added_beside_the_first(run, tmp_path, source):
    run()
    with (tmp_path / "out/dataset.yaml").open("a") as file:
        file.write("# edited by hand\n")
    before = contents(tmp_path / "out")
    assert run("--split", "val")[0] == 0
    after = contents(tmp_path / "out")
    assert before.items() <= after.items() and len(after) == 2 * len(before) - 1
    assert list(find_splits(tmp_path / "out")) == ["train", "val"]


def test_splits_must_agree_on_their_classes(run, tmp_path):
    run()
    before = contents(tmp_path / "out")
    code, said = run("--split", "val", "--classes", "background,a,b,c")
    assert code == 2 and "dataset.yaml: classes is background,RV,MYO,LV, this import has background,a,b,c" in said
    (tmp_path / "out/dataset.yaml").write_text("classes: [background, RV, MYO, LV]\nignore_label: 255\n")
    code, said = run("--split", "val")
    assert code == 2 and "dataset.yaml: ignore_label is 255, this import has not given" in said
    (tmp_path / "out/dataset.yaml").write_text("classes: [")
    code, said = run("--split", "val")
    assert code == 2 and "dataset.yaml: cannot be read" in said and said.count("\n") == 1
    assert contents(tmp_path / "out").keys() == before.keys()


@pytest.mark.parametrize("split", ["images", "../up", ".hidden", "a/b", ""])
def test_a_split_needs_a_plain_name(run, tmp_path, split):
    code, said = run("--split", split)
    assert code == 2 and f"--split {split!r}" in said and not (tmp_path / "out").exists()


def test_a_damaged_record_is_named(run, tmp_path):
    run()
    (tmp_path / "out/train/import.json").write_text("{")
    code, said = run()
    assert code == 2 and "import.json: is damaged" in said


def test_the_record_says_what_was_imported(run, tmp_path, source):
    run()
    record = json.loads((tmp_path / "out/train/import.json").read_text())
    assert record == {"format": "acdc-h5", "source": str(source), "classes": ["background", "RV", "MYO", "LV"]}


def test_a_folder_that_cannot_be_written_is_one_line(run_import, source):
    code, said = run_import("acdc-h5", source, "/proc/nothing")
    assert code == 2 and said.startswith("error: /proc/nothing") and said.count("\n") == 1
