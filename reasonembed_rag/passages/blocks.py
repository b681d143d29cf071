"""The blocks of a section, and how they are packed into passages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest

from reasonembed_rag.passages.outline import Line, opens_fence, runs_of
from reasonembed_rag.passages.units import Units

__all__ = ["Slice", "blocks_of", "packed", "sentence_start"]

_SENTENCE_END = re.compile(r"[.!?][)\"'”’\]]*\s+(?=[^\sa-z])|[。！？]\s*")  # noqa: RUF001
_LINE_END = re.compile(r"\n\s*")
_SIGNATURE = re.compile(r"\s*(?:[a-z]+ )*[A-Za-z_][\w.]*\(.*[^.:;,!?\s]\s*")
_BY_LINES = re.compile(r"\s*(?:[|+`~]|>>>|[-*] |\d+[.)] )")  # tables, fences, doctests, lists
_LONGEST_SIGNATURE = 200


@dataclass(frozen=True, slots=True)
class _Block:
    """A paragraph, a fenced block, or a fragment of one that is too long."""

    start: int
    end: int
    size: int
    indent: int
    attached: bool  # belongs to the block before: a fenced block, or what a colon announces
    fragment: bool = False  # continues the paragraph of the block before
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Slice:
    """The characters of a passage, start to end, and the signatures of the entries that it starts within."""

    start: int
    end: int
    signatures: tuple[str, ...] = ()


def blocks_of(text: str, lines: Sequence[Line], units: Units, most: int) -> list[_Block]:
    """Find the paragraphs and fenced blocks of a section, none of more than `most` units."""
    blocks: list[_Block] = []
    for run in runs_of(lines):
        start, end = run[0].start, run[-1].start + len(run[-1].text.rstrip())
        whole = text[start:end]
        announced = bool(blocks) and text[blocks[-1].start : blocks[-1].end].endswith(":")
        block = _Block(
            start,
            end,
            units.count(start, end),
            indent=len(whole) - len(whole.lstrip()),
            attached=opens_fence(run[0]) or announced,
            signature=_signature(run),
        )
        blocks += [block] if block.size <= most else _fragments(text, block, units, most)
    return [_checked(block, follower) for block, follower in zip_longest(blocks, blocks[1:])]


def _signature(run: Sequence[Line]) -> str:
    first = run[0].text.strip()
    return first if len(first) <= _LONGEST_SIGNATURE and all(_SIGNATURE.fullmatch(line.text) for line in run) else ""


def _checked(block: _Block, follower: _Block | None) -> _Block:
    """Return the block, without its signature if no indented description follows."""
    described = follower is not None and follower.indent > block.indent
    return block if described or not block.signature else replace(block, signature="")


def _fragments(text: str, block: _Block, units: Units, most: int) -> list[_Block]:
    """Split a block that is too long at sentence ends, else at line ends, else between units."""
    by_lines = _BY_LINES.match(text, block.start, block.end) is not None
    spans = [(block.start, block.end)]
    for border in (_LINE_END,) if by_lines else (_SENTENCE_END, _LINE_END):
        spans = [
            part for span in spans for part in (_parted(text, span, border) if units.count(*span) > most else [span])
        ]
    spans = [part for span in spans for part in _parted_anywhere(text, span, units, most)]
    fragments = [replace(block, start=a, end=b, size=units.count(a, b), fragment=True) for a, b in spans]
    return [replace(fragments[0], fragment=False), *fragments[1:]]


def _parted(text: str, span: tuple[int, int], border: re.Pattern[str]) -> list[tuple[int, int]]:
    cuts = [found.end() for found in border.finditer(text, *span) if found.end() < span[1]]
    edges = [span[0], *cuts, span[1]]
    return [(a, a + len(text[a:b].rstrip())) for a, b in pairwise(edges)]


def _parted_anywhere(text: str, span: tuple[int, int], units: Units, most: int) -> list[tuple[int, int]]:
    """Split a span into parts of at most `most` units, between words if there is a word boundary in its second half."""
    starts = units.within(*span)
    if len(starts) <= most:
        return [span]
    edges, place = [span[0]], 0
    while place + most < len(starts):
        stop = place + most
        word = stop
        while word > place + most // 2 and not text[starts[word] - 1].isspace() and not text[starts[word]].isspace():
            word -= 1
        place = word if word > place + most // 2 else stop
        edges.append(starts[place])
    parts = [(a, a + len(text[a:b].rstrip())) for a, b in pairwise([*edges, span[1]])]
    return [(a, b) for a, b in parts if b > a]


def packed(blocks: Sequence[_Block], most: int) -> Iterator[Slice]:
    """Yield the passages of a section; one that starts within an entry gets the entry's signature as a heading."""
    start = 0
    entries: list[_Block] = []
    while start < len(blocks):
        stop = _border(blocks, start, most)
        entries = [entry for entry in entries if entry.indent < blocks[start].indent]
        yield Slice(blocks[start].start, blocks[stop - 1].end, tuple(entry.signature for entry in entries))
        for block in blocks[start:stop]:
            entries = [entry for entry in entries if entry.indent < block.indent]
            entries += [block] if block.signature else []
        start = stop


def _border(blocks: Sequence[_Block], start: int, most: int) -> int:
    """Return where the passage that begins at start should end: the cheapest border that fits, the last of ties."""
    fair = most // 4
    left = sum(block.size for block in blocks[start:])
    best, best_cost, size = start + 1, float("inf"), 0
    for stop in range(start + 1, len(blocks)):
        size += blocks[stop - 1].size
        if size > most:
            return best
        if size >= fair and blocks[stop].signature and not blocks[stop - 1].signature:
            return stop
        tiny = size < fair or left - size < fair
        cost = blocks[stop].indent + 100 * blocks[stop].attached + 200 * blocks[stop].fragment + 1000 * tiny
        if cost <= best_cost:
            best, best_cost = stop, cost
    return len(blocks) if left <= most else best


def sentence_start(text: str, first: int, last: int) -> int:
    """Return the first start of a sentence in a slice, else of a line, else of a word; else its end."""
    for border in (_SENTENCE_END, _LINE_END, re.compile(r"\s+")):
        for found in border.finditer(text, first, last):
            if found.end() < last:
                return found.end()
    return last
