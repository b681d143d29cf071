"""A reader of GNU Info: its nodes, under the titles of those above them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from reasonembed_readers.decoding import decoded
from reasonembed_readers.parts import Note, Part, ReadOptions
from reasonembed_readers.raw import read_bytes

__all__ = ["read_info"]

_HEADER = re.compile(r"File: [^\n]*?Node: (?P<node>[^,\n\t]+)(?:[^\n]*?Up: (?P<up>[^,\n\t]+))?")
_MENU = re.compile(r"\* (?:[^:\n]+::|[^:\n]+:\s+\S|Menu:)|--- The Detailed Node Listing ---")
_UNDERLINE = re.compile(r"[*=.-]{3,}")
_MARKS = re.compile(rb"\0\x08\[[^\0]*\0\x08\]", re.DOTALL)  # images and indexes
_DEEPEST = 10


@dataclass(frozen=True, slots=True)
class _Node:
    name: str
    up: str
    title: str
    lines: tuple[str, ...]
    """Those after the header, its title and menu empty."""
    line: int
    """The line of the file at which they start, from 1."""


def read_info(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield the nodes that say something; menus and indexes are left out."""
    data = _MARKS.sub(lambda found: b"\n" * found.group().count(b"\n"), read_bytes(path))
    nodes = list(_nodes(decoded(data, name=str(path), options=options, note=note)))
    by_name = {node.name: node for node in nodes}
    for node in nodes:
        kept = [at for at, line in enumerate(node.lines) if line.strip()]
        if kept:
            text = "\n".join(node.lines[kept[0] : kept[-1] + 1])
            yield Part(text, heading=_trail(node, by_name), line=node.line + kept[0])


def _nodes(text: str) -> Iterator[_Node]:
    line = 1
    for block in text.split("\x1f"):
        found = _HEADER.search(block.lstrip("\f\n").split("\n", 1)[0])
        if found is not None:
            start = (
                block.index("\n", block.index("File: ")) + 1 if "\n" in block[block.index("File: ") :] else len(block)
            )
            lines = block[start:].split("\n")
            title = _title(lines)
            kept = tuple("" if _MENU.match(one) else one for one in lines)
            up = (found["up"] or "").strip()
            yield _Node(found["node"].strip(), up, title, kept, line + block.count("\n", 0, start))
        line += block.count("\n")


def _title(lines: list[str]) -> str:
    """Take the first underlined line out of a node."""
    for at, (line, below) in enumerate(pairwise(lines)):
        if line.strip() and _UNDERLINE.fullmatch(below.strip()):
            lines[at] = lines[at + 1] = ""
            return line.strip()
    return ""


def _trail(node: _Node, nodes: Mapping[str, _Node]) -> tuple[str, ...]:
    titles: Sequence[str] = [node.title or node.name]
    for _ in range(_DEEPEST):
        if node.up.startswith("(") or node.up not in nodes or nodes[node.up] is node:
            break
        node = nodes[node.up]
        titles = [node.title or node.name, *titles]
    return tuple(title for title in titles if title != "Top")
