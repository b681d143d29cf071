"""Readers of JSON and JSON Lines: rows where there are objects, else a text of paths and values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from reasonembed_rag.errors import InputError
from reasonembed_rag.files import check_unicode, flat_record, parse_jsonl
from reasonembed_readers.decoding import read_decoded
from reasonembed_readers.parts import Note, Part, ReadOptions
from reasonembed_readers.raw import open_bytes
from reasonembed_readers.rows import FileRows

__all__ = ["read_json_file", "read_json_lines"]

_SPACE = re.compile(r"\s*")
_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[\]}])', re.DOTALL)
_DECODER = json.JSONDecoder()
_TEXT_KEYS = ("content", "text", "body", "page_content")


def read_json_lines(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield the objects of a JSON Lines file, each a row."""
    rows: FileRows | None = None
    for line, row in _json_lines(path, options, note):
        rows = rows or FileRows(str(path), tuple(row), options, note)
        yield rows.part(row, where=f"{path}:{line}", line=line)


def _json_lines(path: Path, options: ReadOptions, note: Note) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, object); UTF-8 is streamed."""
    with open_bytes(path) as file:
        marked = file.peek(4)[:4].startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"))  # type: ignore[attr-defined]
        if not marked and options.encoding is None:
            yield from parse_jsonl(file, name=str(path))
            return
    text = read_decoded(path, options, note)
    yield from parse_jsonl((line.encode("utf-8", "surrogatepass") for line in text.split("\n")), name=str(path))


def read_json_file(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield the rows of a JSON file: the objects of an array or one after the other; else all of it as text."""
    text = read_decoded(path, options, note)
    values = _values_with_comments(text, name=str(path))
    if not values:
        return
    objects = [(line, value) for line, value in values if isinstance(value, dict)]
    several = len(values) > 1 or text.lstrip().startswith("[")
    if len(objects) == len(values) and (several or _has_text(objects[0][1], options)):
        rows = FileRows(str(path), tuple(objects[0][1]), options, note)
        yield from (rows.part(value, where=f"{path}:{line}", line=line) for line, value in objects)
    else:
        yield Part("\n".join(_flat([value for _, value in values], name=str(path))), outline=False)


def _has_text(value: Mapping[str, Any], options: ReadOptions) -> bool:
    return any(isinstance(value.get(key), str) for key in options.text_columns or _TEXT_KEYS)


def _values_with_comments(text: str, *, name: str) -> list[tuple[int, Any]]:
    """Return the values of JSON, or of JSON with comments and trailing commas, as editors' settings have them."""
    try:
        return list(_values(text, name=name))
    except InputError:
        plain = _TRAILING_COMMA.sub(_without, _COMMENT.sub(_without, text))
        if plain == text:
            raise
        return list(_values(plain, name=name))


def _without(found: re.Match[str]) -> str:
    """Return a string as it is, and of a comment or comma the line ends, so that lines keep their numbers."""
    return found[1] or "\n" * found[0].count("\n")


def _values(text: str, *, name: str) -> Iterator[tuple[int, Any]]:
    """Yield (line, value) of each value of the outermost array, or of each value where they follow one another."""
    place, line, counted = _skip(text, 0), 1, 0
    in_array = text.startswith("[", place)
    place = _skip(text, place + 1) if in_array else place
    first = True
    while place < len(text) and not (in_array and text.startswith("]", place)):
        if in_array and not first:
            place = _skip(text, _expect(text, place, name=name))
        line, counted = line + text.count("\n", counted, place), place
        value, place = _decode(text, place, where=f"{name}:{line}")
        yield line, value
        first, place = False, _skip(text, place)
    if in_array:
        place = _skip(text, place + 1) if place < len(text) else _failed(text, place, "want ]", name=name)
        if place < len(text):
            _failed(text, place, "want nothing after the array", name=name)


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return place if found is None else found.end()


def _expect(text: str, place: int, *, name: str) -> int:
    return place + 1 if text.startswith(",", place) else _failed(text, place, "want , or ]", name=name)


def _failed(text: str, place: int, want: str, *, name: str) -> NoReturn:
    line = text.count("\n", 0, place) + 1
    raise InputError(f"{name}:{line}: not JSON, got {text[place : place + 20]!r}; {want}")


def _decode(text: str, place: int, *, where: str) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, place)
    except json.JSONDecodeError as error:
        name = where.rpartition(":")[0]
        raise InputError(f"{name}:{error.lineno}: not JSON ({error.msg} at column {error.colno})") from error
    except RecursionError as error:
        raise InputError(f"{where}: is nested too deeply for JSON; want fewer levels") from error
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({error}); write such a number as a string") from error


def _flat(values: Sequence[Any], *, name: str) -> Iterator[str]:
    """Yield a line per scalar: its path and its value."""
    for value in values:
        try:
            scalars = flat_record(value)
        except RecursionError as error:
            raise InputError(f"{name}: is nested too deeply; want fewer levels") from error
        for key, scalar in scalars.items():
            shown = ", ".join(map(_shown, scalar)) if isinstance(scalar, list) else _shown(scalar)
            check_unicode(shown, name=f"{name}: {key!r}")
            yield f"{key}: {shown}" if key else shown


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
