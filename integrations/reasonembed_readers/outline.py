"""Symbols of source code, and the parts that a file of code is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reasonembed_readers.parts import Part

__all__ = ["Symbol", "code_parts"]

_FITS = 1200
"""Characters up to which a class is one part, and up to which small neighbours are merged."""
_SMALL = 300
"""Characters up to which a function or class is merged with its neighbours."""
_HUGE = 6000
"""Characters from which even a function is split at the functions within it."""
_LEAD = 200
"""Characters up to which what stands before a symbol (the title of a section, a constant) is in that symbol's part."""
_CLOSING = 80
"""Characters up to which what follows the last symbol (braces, an `end`, `#endif`) belongs to that symbol's part."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A function, a class or something else with a name, by its lines, with the symbols within it."""

    name: str
    first: int
    """Its first line, from 0: a comment or decorator directly above counts."""
    last: int
    """The line after its last one."""
    holds: bool = False
    """Whether it is there to hold other symbols, as classes and namespaces are, functions not."""
    inner: tuple[Symbol, ...] = ()


@dataclass(frozen=True, slots=True)
class _Piece:
    """Lines that stay together."""

    first: int
    last: int
    trail: tuple[str, ...]
    """The symbols around it."""
    name: str = ""
    """The symbol that it is, or that begins in it."""
    whole: bool = False
    """Whether it is a symbol from its first line to its last."""
    closes: bool = False
    """Whether it is only the end of the symbol before: braces, an `end`, `#endif`."""


def code_parts(lines: Sequence[str], symbols: Sequence[Symbol], *, title: str, language: str) -> Iterator[Part]:
    """Yield the parts of a file of code in order: every line that is not blank is in exactly one of them.

    A function is a part, and so is a class that is short; a long class is split at its methods. Small neighbours, and
    what stands between symbols, are merged.
    """
    outline = _Outline(lines)
    run: list[_Piece] = []
    for piece in outline.pieces(0, len(lines), symbols, ()):
        if run and not outline.may_merge(run, piece):
            yield outline.part(run, title=title, language=language)
            run = []
        run.append(piece)
    if run:
        yield outline.part(run, title=title, language=language)


class _Outline:
    """The lines of a file and how many characters they have."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._ends = [0]
        for line in lines:
            self._ends.append(self._ends[-1] + len(line) + 1)

    def size(self, first: int, last: int) -> int:
        return self._ends[last] - self._ends[first]

    def is_blank(self, first: int, last: int) -> bool:
        return not any(line.strip() for line in self._lines[first:last])

    def pieces(self, first: int, last: int, symbols: Sequence[Symbol], trail: tuple[str, ...]) -> Iterator[_Piece]:
        """Yield what lies between symbols, and the symbols: those that are long and hold others piece by piece."""
        held: _Piece | None = None
        for piece in self._pieces(first, last, symbols, trail):
            if held is not None and piece.closes:
                held = replace(held, last=piece.last)
                continue
            if held is not None:
                yield held
            held = piece
        if held is not None:
            yield held

    def _pieces(self, first: int, last: int, symbols: Sequence[Symbol], trail: tuple[str, ...]) -> Iterator[_Piece]:
        at = first
        for symbol in symbols:
            begin, end = max(symbol.first, at), min(symbol.last, last)
            if begin >= end:  # it shares its line with the one before
                continue
            if not self.is_blank(at, begin):
                yield _Piece(at, begin, trail)
            at = end
            size = self.size(begin, end)
            if symbol.inner and size > (_FITS if symbol.holds else _HUGE):
                yield from self._opened(begin, end, symbol, trail)
            else:
                yield _Piece(begin, end, trail, symbol.name, whole=True)
        if not self.is_blank(at, last):
            yield _Piece(at, last, trail, closes=at > first and self.size(at, last) <= _CLOSING)

    def _opened(self, first: int, last: int, symbol: Symbol, trail: tuple[str, ...]) -> Iterator[_Piece]:
        within = (*trail, symbol.name)
        head = min(max(symbol.inner[0].first, first + 1), last)
        yield _Piece(first, head, trail, symbol.name)
        yield from self._pieces(head, last, symbol.inner, within)

    def may_merge(self, run: Sequence[_Piece], piece: _Piece) -> bool:
        """Return whether a piece may join a run.

        A short lead joins what follows it; else all are small, together
        they fit, and none leaves the run's symbol.
        """
        start = run[0]
        if len(run) == 1 and self._leads(start) and piece.trail == start.trail:
            return True
        if piece.trail[: len(start.trail)] != start.trail or self.size(start.first, piece.last) > _FITS:
            return False
        return all(self._is_small(one) for one in (*run, piece))

    def _is_small(self, piece: _Piece) -> bool:
        return not piece.whole or self.size(piece.first, piece.last) <= _SMALL

    def _leads(self, piece: _Piece) -> bool:
        return not piece.name and self.size(piece.first, piece.last) <= _LEAD

    def part(self, run: Sequence[_Piece], *, title: str, language: str) -> Part:
        """Return a run as a part; the heading has the name of a symbol that the part is all about."""
        first, last = run[0].first, run[-1].last
        while not self._lines[first].strip():
            first += 1
        while not self._lines[last - 1].strip():
            last -= 1
        named = [piece for piece in run if piece.name]
        metadata: dict[str, Any] = {"language": language} if language else {}
        if named:
            names = (".".join((*piece.trail, piece.name)) for piece in named)
            metadata["symbol"] = ", ".join(dict.fromkeys(names))
        is_one = len(named) == 1 and all(piece.whole or self._leads(piece) for piece in run)
        alone = (named[0].name,) if is_one or (len(run) == 1 and named) else ()
        text = "\n".join(self._lines[first:last])
        return Part(text, heading=(title, *run[0].trail, *alone), metadata=metadata, line=first + 1, outline=False)
