"""Checksums of tables: no changed byte changes what is read."""

import random

import pandas as pd
import pytest

from trainable.errors import UserError
from trainable.storage.checked_tables import read_table, write_table

NUMBERS = range(20)
TABLE = pd.DataFrame({"true_0": NUMBERS, "stem": [f"image {k}" for k in NUMBERS], "share": [k / 7 for k in NUMBERS]})


def test_a_table_comes_back_here_and_elsewhere(tmp_path):
    write_table(TABLE, tmp_path / "t.parquet")
    for found in (read_table(tmp_path / "t.parquet", ""), pd.read_parquet(tmp_path / "t.parquet")):
        pd.testing.assert_frame_equal(found, TABLE)


def test_no_changed_bit_changes_a_table_in_silence(tmp_path):
    path, rng, refused = tmp_path / "t.parquet", random.Random(1), 0
    write_table(TABLE, path)
    content = path.read_bytes()
    for _ in range(300):
        damaged = bytearray(content)
        damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            pd.testing.assert_frame_equal(read_table(path, "train again"), TABLE)
        except UserError as error:
            assert str(error) == f"{path}: is damaged; train again"
            refused += 1
    assert refused > 100


def test_a_table_of_an_older_version_is_read_as_it_is(tmp_path):
    TABLE.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet", ""), TABLE)


def test_what_is_no_table_is_an_error(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="is damaged; train again"):
        read_table(tmp_path / "t.parquet", "train again")
