"""JSON that carries a checksum: documents, and files with a record per line.

Both begin with ``"v": 2`` and end with ``"sum"``, the CRC-32 of all bytes before it; a record also has its number. A
document of YAML has comments instead, so that it has no other keys. Files of older versions have neither and are read
as they are. No hole removes both ends of a record, so that a damaged one never passes for an old one.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trainable.errors import UserError
from trainable.storage.atomic_files import append_line, write_text

VERSION = 2
LINE, LINE_END = b'{"v":%d,' % VERSION, b',"sum":"%08x"}'
DOCUMENT, DOCUMENT_END = b'{\n  "v": %d,\n' % VERSION, b',\n  "sum": "%08x"\n}\n'
YAML, YAML_END = b"# The last line is a checksum: change a copy of this file, not the file.\n", b"# crc32 %08x\n"
Fields = dict[str, Any]
_decode = json.JSONDecoder().decode  # json.loads would detect the encoding of every line


class Record(NamedTuple):
    """``number`` counts from 1; records of older versions are not ``checked``."""

    number: int
    fields: Fields
    checked: bool


class LineReader:
    """Reads the lines of one file in their order, in as many parts as they come.

    Damaged lines, and records that are missing, repeated or out of order, are an error with ``advice``, or a call of
    ``skipped`` if given.
    """

    def __init__(self, path: Path, skipped: Callable[[str], None] | None = None, advice: str = "") -> None:
        self.path, self.skipped, self.advice = path, skipped, advice
        self.line = 0  # of the file
        self._next, self._lost, self._checked = 1, 0, False

    def read(self, lines: Iterable[bytes]) -> Iterator[Record]:
        for line in lines:
            self.line += 1
            record = self._opened(line)
            if record is None:
                self.damaged(f"is damaged{self.advice}")
                self._lost += 1  # the next record may have a number that is higher by one
                continue
            if not self._next <= record.number <= self._next + self._lost:
                found = f"is record {record.number} instead of {self._next}, so records were lost, repeated or moved"
                self.damaged(f"{found}{self.advice}")
            if record.number >= self._next:
                self._next, self._lost, self._checked = record.number + 1, 0, record.checked
                yield record

    def damaged(self, what: str) -> None:
        """Report a problem of the current line."""
        text = f"{self.path}, line {self.line}: {what}"
        if self.skipped is None:
            raise UserError(text)
        self.skipped(text)

    def _opened(self, line: bytes) -> Record | None:
        try:
            if line.startswith(LINE):
                fields = _decode((_body(line, LINE_END) + b"}").decode())
                del fields["v"]
                return Record(fields.pop("n"), fields, checked=True)
            fields = _decode(line.decode())
        except ValueError:
            return None
        return None if self._checked or not _may_be_old(fields) else Record(self.line, fields, checked=False)


def sealed_line(number: int, fields: Mapping[str, Any]) -> str:
    """A record as a line, without its end."""
    text = json.dumps({"v": VERSION, "n": number, **fields}, separators=(",", ":"))
    return _sealed(text[:-1], LINE_END)


def read_lines(path: Path, skipped: Callable[[str], None] | None = None, advice: str = "") -> list[Fields]:
    """All records of a file except a last one that a crash cut short; none if there is no such file."""
    content = path.read_bytes() if path.exists() else b""
    return [record.fields for record in LineReader(path, skipped, advice).read(content.split(b"\n")[:-1])]


def append_record(path: Path, fields: Mapping[str, Any]) -> None:
    lines = path.read_bytes().count(b"\n") if path.exists() else 0
    append_line(path, sealed_line(lines + 1, fields))


def text_of(records: Iterable[Mapping[str, Any]]) -> str:
    """The content of a file with these records."""
    return "".join(f"{sealed_line(number, fields)}\n" for number, fields in enumerate(records, 1))


def document_of(value: Mapping[str, Any]) -> str:
    """The content of a file with this document, which must not be empty."""
    inner = json.dumps(value, indent=2, sort_keys=True)[2:-2]
    return _sealed(f"{DOCUMENT.decode()}{inner}", DOCUMENT_END)


def write_checked(path: Path, value: Mapping[str, Any]) -> None:
    write_text(path, document_of(value))


def write_checked_yaml(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON, which is also YAML, in the order of the keys and between two comments."""
    write_text(path, _sealed(f"{YAML.decode()}{json.dumps(value, indent=2)}\n", YAML_END))


def read_checked(path: Path, advice: str = "restore it from a copy") -> Fields:
    """Read and verify a document; errors say what to do."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        if content.startswith(DOCUMENT):
            value: Any = _decode((_body(content, DOCUMENT_END) + b"}").decode())
            del value["v"]
            return dict(value)
        value = json.loads(_body(content, YAML_END)[len(YAML) :] if content.startswith(YAML) else content)
    except ValueError:
        value = None
    if not _may_be_old(value):
        raise UserError(f"{path}: is damaged; {advice}")
    return dict(value)


def _may_be_old(value: Any) -> bool:
    """Whether a file without a checksum may be of an older version; with a single key, it is the rest of a new one."""
    return isinstance(value, dict) and len(value) > 1 and "sum" not in value


def _sealed(text: str, end: bytes) -> str:
    return text + (end % zlib.crc32(text.encode())).decode()


def _body(content: bytes, end: bytes) -> bytes:
    """The content before its checksum, which must be right."""
    size = len(end % 0)
    body = content[:-size]
    if content[-size:] != end % zlib.crc32(body):
        raise ValueError
    return body
