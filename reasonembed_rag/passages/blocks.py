"""The blocks of a section, and how they are packed into passages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, zip_longest

from reasonembed_rag.passages.fragments import Fragment, Fragments
from reasonembed_rag.passages.outline import Line, opens_fence, runs_of
from reasonembed_rag.passages.units import Units

__all__ = ["Measure", "Slice", "blocks_of", "packed"]

_SIGNATURE = re.compile(r"\s*(?:[a-z]+ )*[A-Za-z_][\w.]*\(.*[^.:;,!?\s]\s*")
_LONGEST_SIGNATURE = 200


@dataclass(frozen=True, slots=True)
class _Block:
    """A paragraph, a fenced block, or a fragment of one that is too long."""

    start: int
    end: int
    size: int
    indent: int
    attached: bool  # belongs to the block before: a fenced block, or what a colon announces
    cost: int = 0  # of a border before it, if it continues the paragraph of the block before
    signature: str = ""
    context: str = ""  # a heading for a passage that starts with the block


@dataclass(frozen=True, slots=True)
class Slice:
    """The characters of a passage, start to end, and the signatures of the entries and tables that it starts within."""

    start: int
    end: int
    signatures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measure:
    """The units that a passage may have at most, and how a block of more is split."""

    units: Units
    most: int
    fragments: Fragments


def blocks_of(text: str, lines: Sequence[Line], measure: Measure) -> list[_Block]:
    """Find the paragraphs and fenced blocks of a section, none of more units than a passage may have."""
    blocks: list[_Block] = []
    for run in runs_of(lines):
        start, end = run[0].start, run[-1].start + len(run[-1].text.rstrip())
        whole = text[start:end]
        announced = bool(blocks) and text[blocks[-1].start : blocks[-1].end].endswith(":")
        block = _Block(
            start,
            end,
            measure.units.count(start, end),
            indent=len(whole) - len(whole.lstrip()),
            attached=opens_fence(run[0]) or announced,
            signature=_signature(run),
        )
        blocks += [block] if block.size <= measure.most else _fragments(text, block, measure)
    return [_checked(block, follower, measure.units) for block, follower in zip_longest(blocks, blocks[1:])]


def _signature(run: Sequence[Line]) -> str:
    first = run[0].text.strip()
    return first if len(first) <= _LONGEST_SIGNATURE and all(_SIGNATURE.fullmatch(line.text) for line in run) else ""


def _checked(block: _Block, follower: _Block | None, units: Units) -> _Block:
    """Return the block with the units up to the next one, and without its signature if no description follows."""
    if follower is None:
        return replace(block, signature="")
    signature = block.signature if follower.indent > block.indent else ""
    return replace(block, size=units.count(block.start, follower.start), signature=signature)


def _fragments(text: str, block: _Block, measure: Measure) -> Iterator[_Block]:
    for part in measure.fragments(text, Fragment(block.start, block.end), measure.units, measure.most):
        piece = text[part.start : part.end]
        indent = max(block.indent, len(piece) - len(piece.lstrip()))
        size = measure.units.count(part.start, part.end)
        yield replace(
            block, start=part.start, end=part.end, size=size, indent=indent, cost=part.cost, context=part.context
        )


def packed(blocks: Sequence[_Block], most: int) -> Iterator[Slice]:
    """Yield the passages of a section; one that starts within an entry gets the entry's signature as a heading."""
    start = 0
    before = list(accumulate((block.size for block in blocks), initial=0))
    entries: list[_Block] = []
    while start < len(blocks):
        stop = _border(blocks, start, most, left=before[-1] - before[start])
        entries = [entry for entry in entries if entry.indent < blocks[start].indent]
        above = [*(entry.signature for entry in entries), *filter(None, [blocks[start].context])]
        yield Slice(blocks[start].start, blocks[stop - 1].end, tuple(above))
        for block in blocks[start:stop]:
            entries = [entry for entry in entries if entry.indent < block.indent]
            entries += [block] if block.signature else []
        start = stop


def _border(blocks: Sequence[_Block], start: int, most: int, *, left: int) -> int:
    """Return where the passage that begins at start should end: the cheapest border that fits, the last of ties.

    `left` is the number of units from start on.
    """
    fair = most // 4
    best, best_cost, size = start + 1, float("inf"), 0
    for stop in range(start + 1, len(blocks)):
        size += blocks[stop - 1].size
        if size > most:
            return best
        if size >= fair and blocks[stop].signature and not blocks[stop - 1].signature:
            return stop
        tiny = size < fair or left - size < fair
        cost = blocks[stop].indent + 100 * blocks[stop].attached + blocks[stop].cost + 1000 * tiny
        if cost <= best_cost:
            best, best_cost = stop, cost
    return len(blocks) if left <= most else best
