"""Readers of CSV and TSV: each row is a document."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

from reasonembed_rag.errors import InputError
from reasonembed_readers.decoding import encoding_of, read_decoded
from reasonembed_readers.parts import Note, Part, ReadOptions
from reasonembed_readers.raw import inner_name, open_bytes
from reasonembed_readers.rows import FileRows

if TYPE_CHECKING:
    from _csv import Reader as _Reader

__all__ = ["read_separated"]

_SAMPLE = 1 << 16
_DELIMITERS = ",;\t|"
_LONGEST_FIELD = 16 << 20
_LARGEST_DECODED = 64 << 20
"""In bytes, unpacked. Larger ones are streamed."""
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{,17})")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{,17})(?:\.\d{1,17})?(?:[eE][+-]?\d{1,2})?")


_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")
_SEPARATOR = re.compile(r"sep=(.)\r?\n")
"""How Excel names the separator, in a line above the header."""


@dataclass(frozen=True, slots=True)
class _Dialect:
    delimiter: str
    width: int
    """The fields that most rows have."""
    quoting: Literal[0, 3]  # csv.QUOTE_MINIMAL or csv.QUOTE_NONE


@dataclass(frozen=True, slots=True)
class _Record:
    line: int
    fields: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Table:
    """A file of separated values, which can be read more than once."""

    name: str
    open: Callable[[], TextIO]
    dialect: _Dialect
    columns: Sequence[str]
    has_header: bool

    def records(self) -> Iterator[_Record]:
        """Yield the rows below the header; raises InputError for one with more or fewer fields than columns."""
        with self.open() as file:
            for number, record in enumerate(_records(file, self.dialect, name=self.name)):
                if number == 0 and self.has_header:
                    continue
                if len(record.fields) != len(self.columns):
                    raise InputError(
                        f"{self.name}:{record.line}: has {len(record.fields)} fields, want {len(self.columns)} as in "
                        f"the first row; quote fields that hold {self.dialect.delimiter!r}, and double quotes in them"
                    )
                yield record


def read_separated(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield the rows of a CSV or TSV file; columns whose every value is a number are numbers.

    The file is read twice, so that its errors and the types of its columns are known before a row is yielded.
    """
    table = _table(path, options, note)
    if not table.columns:
        return
    if not table.has_header:
        note(f"{path}: its first row is no header, it has numbers; the columns are named column 1, column 2, ...")
    rows = FileRows(str(path), table.columns, options, note)
    converters = _converters(table, unconverted=rows.unconverted)
    for record in table.records():
        row: dict[str, str | int | float | None] = {}
        for column, convert, field in zip(table.columns, converters, record.fields, strict=True):
            row[column] = convert(field) if field or column in rows.unconverted else None
        yield rows.part(row, where=f"{path}:{record.line}", line=record.line)


def _table(path: Path, options: ReadOptions, note: Note) -> _Table:
    source = _source(path, options, note)
    try:
        with source() as file:
            sample = file.read(_SAMPLE)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not {error.encoding} ({error.reason}); name its encoding") from error
    dialect = _dialect(sample, tabs=inner_name(path).endswith(".tsv"))
    with source() as file:
        first = next(_records(file, dialect, name=str(path)), None)
    fields = [field.strip() for field in first.fields] if first is not None else []
    has_header = _is_header(fields, options)
    names = fields if has_header else [""] * len(fields)
    columns: list[str] = []
    for number, field in enumerate(names, start=1):
        name = field or f"column {number}"
        columns.append(name if name not in columns else f"{name} {number}")
    return _Table(str(path), source, dialect, columns, has_header)


def _is_header(fields: Sequence[str], options: ReadOptions) -> bool:
    """Tell whether the first row names the columns: it has the columns that the user named, or no number but years."""
    if {*options.text_columns, options.id_column} & set(fields):
        return True
    numbers = [field for field in fields if _NUMBER.fullmatch(field)]
    return any(fields) and len(numbers) < len(fields) and all(map(_YEAR.fullmatch, numbers))


def _source(path: Path, options: ReadOptions, note: Note) -> Callable[[], TextIO]:
    """Return how the file is opened as text: a small one is in memory and may be in any encoding."""
    with open_bytes(path) as file:
        small = len(file.read(_LARGEST_DECODED + 1)) <= _LARGEST_DECODED
    if small:
        text = read_decoded(path, options, note)
        return lambda: io.StringIO(text)
    encoding = encoding_of(path, options, note)
    return lambda: io.TextIOWrapper(open_bytes(path), encoding=encoding, newline="")


def _dialect(sample: str, *, tabs: bool) -> _Dialect:
    """Return the delimiter and quoting under which most rows of a sample have the same, largest number of fields."""
    named = _SEPARATOR.match(sample)
    lines = sample.splitlines(keepends=True)[1 if named else 0 :]
    lines = lines[:-1] if len(sample) == _SAMPLE else lines
    best, best_score = _Dialect("\t" if tabs else ",", 1, csv.QUOTE_MINIMAL), (0.0, 0)
    for delimiter in named[1] if named else "\t" if tabs else _DELIMITERS:
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE) if delimiter == "\t" else (csv.QUOTE_MINIMAL,):
            widths = _widths(lines, _Dialect(delimiter, 1, quoting))
            width, count = Counter(widths).most_common(1)[0] if widths else (1, 0)
            if width > 1 and (score := (count / len(widths), width)) > best_score:
                best, best_score = _Dialect(delimiter, width, quoting), score
    return best


def _widths(lines: Sequence[str], dialect: _Dialect) -> list[int]:
    widths: list[int] = []
    with suppress(csv.Error):  # the sample may end within quotes
        widths.extend(len(row) for row in _reader(lines, dialect) if row)
    return widths


def _reader(lines: Iterable[str], dialect: _Dialect) -> _Reader:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))  # of the process; texts are longer than 128 KiB
    return csv.reader(lines, delimiter=dialect.delimiter, quoting=dialect.quoting, strict=True)


def _records(file: TextIO, dialect: _Dialect, *, name: str) -> Iterator[_Record]:
    """Yield the rows that are neither empty nor comments, with the line at which each starts."""
    reader = _reader(file, dialect)
    line = 1
    try:
        for fields in reader:
            names_separator = line == 1 and fields[:1] == ["sep="]
            if fields and not names_separator and (len(fields) == dialect.width or not fields[0].startswith("#")):
                yield _Record(line, fields)
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{name}:{line}: not CSV ({error}); want quotes closed and fields of at most 16 MiB"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name}:{line}: not {error.encoding} ({error.reason}); name its encoding") from error


def _converters(table: _Table, *, unconverted: Collection[str]) -> list[Callable[[str], str | int | float]]:
    """Return what converts the fields of each column: int or float where every field that is not empty is one."""
    kinds: list[Callable[[str], str | int | float]] = [
        str if column in unconverted else int for column in table.columns
    ]
    for record in table.records():
        for place, field in enumerate(record.fields):
            if kinds[place] is int and field and not _INTEGER.fullmatch(field):
                kinds[place] = float
            if kinds[place] is float and field and not _NUMBER.fullmatch(field):
                kinds[place] = str
    return kinds
