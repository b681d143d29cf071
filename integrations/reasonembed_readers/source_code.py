"""A reader of source code, split at its functions and classes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from reasonembed_readers.decoding import read_decoded
from reasonembed_readers.languages import language_of
from reasonembed_readers.outline import Symbol, code_parts
from reasonembed_readers.parts import Note, Part, ReadOptions
from reasonembed_readers.python_outline import python_outline
from reasonembed_readers.raw import inner_name
from reasonembed_readers.tree_outline import has_grammars, tree_outline

__all__ = ["read_code"]

_LONG = 2_000_000
"""Characters beyond which a file is not parsed: what is that long was written by a program."""
_NEVER_ENDS = {"fsharp"}
"""Languages whose grammar does not come to an end on code that is broken."""
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.MULTILINE)  # PEP 263
_NAMES_OF_FOLDERS = {"__init__", "index", "mod", "__main__", "main", "lib"}


def read_code(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield the functions and classes of a file of code, and what stands between them."""
    text = read_decoded(path, options, note, declared=_declared)
    name = PurePath(inner_name(path))
    lines = text.split("\n")
    language = language_of(name, text)
    title = f"{path.parent.name}/{path.name}" if name.stem.lower() in _NAMES_OF_FOLDERS else path.name
    symbols = _symbols(lines, language, path=path, note=note) if len(text) <= _LONG else []
    yield from code_parts(lines, symbols, title=title, language=language)


def _declared(data: bytes) -> str | None:
    found = _COOKIE.search(b"\n".join(data[:500].split(b"\n")[:2]))
    return found.group(1).decode("ascii", errors="replace") if found else None


def _symbols(lines: Sequence[str], language: str, *, path: Path, note: Note) -> list[Symbol]:
    if language == "python":
        try:
            return python_outline(lines)
        except SyntaxError:
            note(f"{path}: is not Python of this version, such as Python 2; split as well as it goes")
    if not language or language in _NEVER_ENDS:
        return []
    if has_grammars():
        return tree_outline(lines, language)
    if language != "python":
        note(f"{path}: {language} is split at blank lines, not at functions: pip install 'reasonembed-rag[files]'")
    return []
