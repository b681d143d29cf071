"""FileRows as documents: which columns are the text and the id, and what a row may hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reasonembed_rag.errors import InputError
from reasonembed_rag.files import check_unicode
from reasonembed_readers.parts import Note, Part, ReadOptions

__all__ = ["FileRows"]

_TEXT_COLUMNS = ("content", "text", "body", "page_content", "contents", "passage", "document")
_TITLED = ("title", "text")
"""What BEIR's corpora have: the title belongs to the text."""
_ID_COLUMNS = ("id", "_id")
_CURE = "name yours with text_columns (--text-columns)"
_MOST_DEPTH = 90


class FileRows:
    """Makes parts of the rows of one file; the columns of the first row decide for all.

    The text is the columns that the options name, else the first of content, text, body and the like that there is,
    else every column as "name: value". Raises InputError for named columns that are not there.
    """

    def __init__(self, name: str, columns: Sequence[str], options: ReadOptions, note: Note) -> None:
        self._name = name
        self._id = _column("id_column", options.id_column, columns, name=name) if options.id_column else None
        if self._id is None:
            self._id = next((column for column in _ID_COLUMNS if column in columns), None)
        self._text = self._text_of(columns, options)
        self._by_name = not self._text
        self._typed = bool(options.text_columns)
        self._note = note
        self._guess = ""
        self._seen: dict[str, str] = {}
        if self._by_name:
            self._text = tuple(column for column in columns if column != self._id)
            self._guess = f"no column content, text or body; every column is text, as name: value; {_CURE}"
        elif not options.text_columns and self._text != ("content",):
            self._guess = f"the text is the column {' and '.join(self._text)}; {_CURE}"

    @property
    def unconverted(self) -> frozenset[str]:
        """The columns that are text or id even where they look like numbers."""
        return frozenset({*(() if self._by_name else self._text), *((self._id,) if self._id else ())})

    def part(self, row: Mapping[str, Any], *, where: str, line: int | None = None) -> Part:
        """Return a row as a part; `where` is name:line or the like, for errors.

        Raises InputError for an id that is missing or repeated, a text that is missing or not text, and values that
        cannot be kept: NaN, infinity, lone surrogates, NUL characters.
        """
        if self._guess:  # told where there is a row that it matters to
            self._note(f"{self._name}: {self._guess}")
            self._guess = ""
        identity = self._identity(row, where=where)
        for column, value in row.items():
            _check(value, f"{where}: {column!r}", depth=0)
        kept = {column: value for column, value in row.items() if value is not None and column != self._id}
        if self._by_name:
            text = "\n".join(f"{column}: {_shown(value)}" for column, value in kept.items() if _shown(value))
            if not text and not self._text:
                raise InputError(
                    f"{where}: has no content; want a column of text: name it with text_columns (--text-columns)"
                )
            return Part(text, id=identity, metadata=kept, line=line, outline=False)
        texts = [self._text_in(row, column, where=where) for column in self._text]
        metadata = {column: value for column, value in kept.items() if column not in self._text}
        text = texts[0] if len(texts) == 1 else "\n\n".join(filter(str.strip, texts))
        return Part(text, id=identity, metadata=metadata, line=line)

    def _text_of(self, columns: Sequence[str], options: ReadOptions) -> tuple[str, ...]:
        if options.text_columns:
            return tuple(_column("text_columns", column, columns, name=self._name) for column in options.text_columns)
        first = next((column for column in _TEXT_COLUMNS if column in columns), None)
        if first == "text" and set(_TITLED) <= set(columns):
            return _TITLED
        return () if first is None else (first,)

    def _identity(self, row: Mapping[str, Any], *, where: str) -> str | None:
        if self._id is None:
            found = next((column for column in _ID_COLUMNS if row.get(column) is not None), None)
            if found is not None:
                raise InputError(
                    f"{where}: has {found!r}, which the first row has not; want an id in all rows or in none"
                )
            return None
        value = row.get(self._id)
        identity = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(identity, str) or not identity.strip():
            raise InputError(f"{where}: {self._id!r} is {value!r:.80}; want a non-empty string or an integer")
        _check_text(identity, f"{where}: {self._id!r}")
        first = self._seen.setdefault(identity, where)
        if first is not where:
            raise InputError(
                f"{where}: {self._id!r} is {identity!r}, as in {first}; ids must be unique: rename or drop one"
            )
        return identity

    def _text_in(self, row: Mapping[str, Any], column: str, *, where: str) -> str:
        value = row.get(column)
        if isinstance(value, str):
            _check_text(value, f"{where}: {column!r}")
            return value
        if len(self._text) > 1 and value is None:
            return ""
        if self._typed and value is not None and not isinstance(value, Mapping):
            return _shown(value)
        of = f" of {row.get(self._id)!r}" if self._id is not None else ""
        raise InputError(f"{where}: {column!r}{of} is {value!r:.80}; want a string")


def _column(option: str, column: str, columns: Sequence[str], *, name: str) -> str:
    if column not in columns:
        raise InputError(f"{name}: has no column {column!r} ({option}); it has {', '.join(columns)[:200]}")
    return column


def _shown(value: object) -> str:
    """Return a value as text; numbers in rows and columns, such as vectors, are not text."""
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and not any(isinstance(one, float | list) for one in value):
        return ", ".join(filter(None, map(_shown, value)))
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {shown}" for name, one in value.items() if (shown := _shown(one)))
    return "" if value is None or isinstance(value, list | bytes) else str(value)


def _check(value: object, where: str, *, depth: int) -> None:
    """Raise InputError for a value that metadata cannot hold."""
    if isinstance(value, str):
        check_unicode(value, name=where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} is {value}; want a finite number or null")
    elif depth > _MOST_DEPTH:
        raise InputError(f"{where} is nested too deeply; want at most {_MOST_DEPTH} levels")
    elif isinstance(value, Mapping):
        for name, one in value.items():
            _check(name, where, depth=depth + 1)
            _check(one, where, depth=depth + 1)
    elif isinstance(value, list):
        for one in value:
            _check(one, where, depth=depth + 1)


def _check_text(text: str, where: str) -> None:
    if "\0" in text:
        raise InputError(f"{where} holds a NUL character at {text.index(chr(0))}; want text: remove it")
