"""Formats are found by name, and each has its own options."""

from __future__ import annotations

import pytest

from trainable.data.importers.registry import IMPORTERS
from trainable.data.importers.source import Options

OPTIONS = {
    "--images": "images",
    "--labels": "labels",
    "--scribbles": "scribbles",
    "--pixel-size": "1",
    "--crop": "8x8",
    "--window": "1,99",
    "--axis": "1",
    "--unlabelled": "4",
    "--group": "x",
    "--names": "names.txt",
    "--image-set": "train",
}


def test_an_unknown_format_is_refused_with_the_list(one_line_error, tmp_path):
    said = one_line_error("nifty", tmp_path, tmp_path / "out")
    assert "unknown format 'nifty': the formats are acdc-h5, nifti, voc. Did you mean 'nifti'?" in said


@pytest.mark.parametrize("form", IMPORTERS)
@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_of_another_format_is_refused(one_line_error, tmp_path, form, option):
    name = option.removeprefix("--").replace("-", "_")
    owners = [other for other, importer in IMPORTERS.items() if name in importer.options]
    if form in owners:
        return
    said = one_line_error(form, tmp_path, tmp_path / "out", "--classes", "a,b", option, OPTIONS[option])
    assert f"error: {option} belongs to {' and '.join(owners)}, not to {form}\n" == said


def test_every_option_is_known_to_a_format():
    owned = set().union(*(importer.options for importer in IMPORTERS.values()))
    assert owned == set(Options.__dataclass_fields__) - {"classes", "split"}
    assert {option.removeprefix("--").replace("-", "_") for option in OPTIONS} == owned
