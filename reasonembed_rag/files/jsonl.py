"""Read JSON Lines, plain or gzipped: one object per line, errors naming file:line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.files.text import check_unicode

__all__ = ["decode_lines", "parse_jsonl", "read_jsonl", "read_jsonl_documents"]


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) for each line that is not blank; a name ending in .gz is unpacked.

    Raises InputError for a missing or damaged file and, naming file:line, for a line that is not a JSON object.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; want a JSON Lines file")
    if path.suffix != ".gz":
        with path.open("rb") as lines:
            yield from parse_jsonl(lines, name=str(path))
        return
    try:
        with gzip.open(path, "rb") as lines:
            yield from parse_jsonl(lines, name=str(path))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot unpack it ({error}); want a complete gzip file") from error


def parse_jsonl(lines: Iterable[bytes], *, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) for each line that is not blank; `name` is the source in errors.

    Raises InputError, naming source:line, for a line that is not JSON, not an object or not UTF-8.
    """
    for number, line in decode_lines(lines, name=name):
        if line.strip():
            yield number, _json_object(line, where=f"{name}:{number}")


def decode_lines(lines: Iterable[bytes], *, name: str) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end); raises InputError, naming source:line, for bytes not UTF-8.

    Lines come as bytes because a text file decodes ahead of the line it yields and could not say which one is wrong.
    """
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{name}:{number}: not UTF-8 ({error.reason}); save it as UTF-8") from error
        yield number, text.rstrip("\r\n")


def read_jsonl_documents(path: Path) -> Iterator[Document]:
    """Yield the documents of a JSON Lines file of {"id", "content", ...}; other fields become metadata.

    Raises InputError, naming file:line, for a line without a string id and a string content.
    """
    for number, row in read_jsonl(path):
        identity, content = row.pop("id", None), row.pop("content", None)
        if not isinstance(identity, str) or not identity:
            raise InputError(f'{path}:{number}: "id" is {identity!r}; want a non-empty string')
        if not isinstance(content, str):
            raise InputError(f'{path}:{number}: "content" of {identity!r} is {content!r}; want a string')
        check_unicode(identity, name=f'{path}:{number}: "id"')
        check_unicode(content, name=f'{path}:{number}: "content" of {identity!r}')
        yield Document(identity, content, row)


def _json_object(line: str, *, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{where}: not JSON ({error.msg} at column {error.colno}); want one object per line"
        ) from error
    except RecursionError as error:
        raise InputError(f"{where}: nested too deeply; want fewer levels") from error
    except ValueError as error:
        raise InputError(f"{where}: an integer is too long ({error}); write it as a string") from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: got {type(value).__name__}, want a JSON object")
    return value
