"""A reader of Jupyter notebooks: their prose and code, with the headings that they stand under."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasonembed_rag.errors import InputError
from reasonembed_readers.decoding import read_decoded
from reasonembed_readers.parts import Note, Part, ReadOptions
from reasonembed_readers.surrogates import whole_characters

__all__ = ["read_notebook"]

_FITS = 1200
"""Characters up to which cells are one part."""
_SHORT_OUTPUT = 500
"""Characters up to which what a cell printed is kept: a result is worth finding, a log or a table of numbers is not."""
_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class _Cell:
    number: int
    text: str
    headings: tuple[tuple[int, str], ...] = ()
    """Levels and titles of the headings in it."""


def read_notebook(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield the cells of a notebook (nbformat 3 or 4), neighbours together up to the next heading.

    Code is fenced, with its short text outputs below it; other outputs are left out, and told.
    """
    notebook = _loaded(path, options, note)
    cells = _Cells(path, _language(notebook))
    trail: list[tuple[int, str]] = []
    run: list[_Cell] = []
    for cell in cells.read(_raw_cells(path, notebook)):
        if run and (cell.headings or sum(len(one.text) + 2 for one in (*run, cell)) > _FITS):
            yield _part(run, trail, cells.language)
            run = []
        run.append(cell)
    if run:
        yield _part(run, trail, cells.language)
    if cells.left_out:
        note(f"{path}: long and graphical outputs of cells were left out")


def _part(run: Sequence[_Cell], trail: list[tuple[int, str]], language: str) -> Part:
    """Return cells as a part under the headings above it, which those within it then follow."""
    within = [heading for cell in run for heading in cell.headings]
    top = min((level for level, _ in within), default=7)
    above = tuple(title for level, title in trail if level < top)
    for level, title in within:
        while trail and trail[-1][0] >= level:
            trail.pop()
        trail.append((level, title))
    metadata = {"cell": run[0].number, "language": language}
    return Part("\n\n".join(cell.text for cell in run), heading=above, metadata=metadata)


def _loaded(path: Path, options: ReadOptions, note: Note) -> Mapping[str, Any]:
    text = read_decoded(path, options, note)
    try:
        notebook = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: not a notebook: {error.msg}; want the JSON that Jupyter saves"
        ) from error
    except RecursionError as error:
        raise InputError(f"{path}: not a notebook: nested too deep; want the JSON that Jupyter saves") from error
    except ValueError as error:
        raise InputError(f"{path}: not a notebook: {error}; want the JSON that Jupyter saves") from error
    if not isinstance(notebook, dict):
        raise InputError(f"{path}: not a notebook: {type(notebook).__name__}; want a JSON object with cells")
    return notebook


def _raw_cells(path: Path, notebook: Mapping[str, Any]) -> list[Any]:
    """Return the cells, which format 3 has in worksheets."""
    cells = notebook.get("cells")
    if cells is None and isinstance(notebook.get("worksheets"), list):
        sheets = [sheet.get("cells") for sheet in notebook["worksheets"] if isinstance(sheet, dict)]
        cells = [cell for sheet in sheets if isinstance(sheet, list) for cell in sheet]
    if not isinstance(cells, list):
        raise InputError(f"{path}: not a notebook: it has no list of cells; want the JSON that Jupyter saves")
    return cells


def _language(notebook: Mapping[str, Any]) -> str:
    metadata = _mapping(notebook.get("metadata"))
    said = _mapping(metadata.get("language_info")).get("name") or _mapping(metadata.get("kernelspec")).get("language")
    return _named_language(said) or "python"


def _named_language(said: Any) -> str:
    return said.lower() if isinstance(said, str) and re.fullmatch(r"[\w+#.-]+", said) else ""


class _Cells:
    """The cells of a notebook as Markdown."""

    def __init__(self, path: Path, language: str) -> None:
        self._path = path
        self.language = language
        self.left_out = False

    def read(self, raw: Sequence[Any]) -> Iterator[_Cell]:
        for number, cell in enumerate(raw, 1):
            if not isinstance(cell, dict):
                raise InputError(f"{self._path}: cell {number} is {cell!r:.60}; want an object with source")
            kind = cell.get("cell_type")
            source = self._text(cell.get("source", cell.get("input", "")), number).strip("\n")
            if not source.strip():
                continue
            if kind == "heading":  # format 3
                level = cell.get("level")
                source = f"{'#' * (level if isinstance(level, int) and 1 <= level <= 6 else 1)} {source}"
            if kind == "code":
                yield _Cell(number, self._code(cell, source, number))
            else:
                yield _Cell(number, source, _headings(source))

    def _code(self, cell: Mapping[str, Any], source: str, number: int) -> str:
        language = _named_language(cell.get("language")) or self.language
        blocks = [_fenced(source, language)]
        outputs = cell.get("outputs")
        for output in outputs if isinstance(outputs, list) else []:
            text = self._output(_mapping(output), number)
            if text.strip() and len(text) <= _SHORT_OUTPUT:
                blocks.append(_fenced(text.strip("\n"), ""))
            elif output:
                self.left_out = True
        return "\n\n".join(blocks)

    def _output(self, output: Mapping[str, Any], number: int) -> str:
        """Return what a cell printed or returned as plain text, and nothing for its errors and pictures."""
        data = _mapping(output.get("data", output))
        if any(kind.startswith("image/") or kind in {"png", "jpeg", "svg"} for kind in data):
            return ""
        text = output.get("text", data.get("text/plain", ""))
        return _COLOURS.sub("", self._text(text, number))

    def _text(self, value: Any, number: int) -> str:
        if isinstance(value, list) and all(isinstance(line, str) for line in value):
            value = "".join(value)
        if not isinstance(value, str):
            raise InputError(
                f"{self._path}: the text of cell {number} is {value!r:.60}; want a string or a list of them"
            )
        return whole_characters(value).replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")


def _headings(source: str) -> tuple[tuple[int, str], ...]:
    return tuple((len(mark), title) for mark, title in _HEADING.findall(_FENCED.sub("", source)))


def _fenced(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
