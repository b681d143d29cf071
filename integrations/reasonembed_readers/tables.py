"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["markdown_table"]


def markdown_table(rows: Iterable[Sequence[str]]) -> str:
    """Return rows of cells as a Markdown table, the first one as its head; empty rows are left out."""
    kept = [row for row in rows if any(cell.strip() for cell in row)]
    if not kept:
        return ""
    head, *others = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in kept]
    return "\n".join([head, f"|{' --- |' * len(kept[0])}", *others])
