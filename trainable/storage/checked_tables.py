"""Parquet tables that carry a checksum of their content; those of older versions have none and are read as they are."""

import io
import zlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trainable.errors import UserError
from trainable.storage.atomic_files import write_atomically

SUM = b"content_crc32"


def write_table(frame: pd.DataFrame, path: Path) -> None:
    table = pa.Table.from_pandas(frame)
    marked = table.replace_schema_metadata({**(table.schema.metadata or {}), SUM: _sum(table)})
    buffer = io.BytesIO()
    pq.write_table(marked, buffer, write_page_checksum=True)
    write_atomically(path, lambda file: file.write(buffer.getvalue()))


def read_table(path: Path, advice: str) -> pd.DataFrame:
    """Read and verify a table; errors say what to do."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        known = (table.schema.metadata or {}).get(SUM)
        if known is None or known == _sum(table):
            frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)  # which the checksum does not cover
            return frame
    except Exception:  # noqa: BLE001  pyarrow raises many types for damaged files
        pass
    raise UserError(f"{path}: is damaged; {advice}")


def _sum(table: pa.Table) -> bytes:
    """The CRC-32 of names, types and values."""
    crc = 0
    for name, column in zip(table.column_names, table.columns, strict=True):
        crc = zlib.crc32(f"{name} {column.type}".encode(), crc)
        plain = pa.types.is_primitive(column.type) and not column.null_count
        crc = zlib.crc32(column.to_numpy().tobytes() if plain else repr(column.to_pylist()).encode(), crc)
    return b"%08x" % crc
