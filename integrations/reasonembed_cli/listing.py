"""`reasonembed list`: the documents of an index, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.filtering import FilterOption, read_filters
from reasonembed_cli.opened import IndexArgument, note_no_match, opened_store, sources_of
from reasonembed_cli.showing import (
    JsonOption,
    document_record,
    echo_json,
    one_line,
    passage_text,
    printable,
    short_place,
    terminal_width,
)

if TYPE_CHECKING:
    from reasonembed_rag import Document

__all__ = ["list_command"]

_PAGE = 100
"""Lines whose columns are aligned."""
_MOST = 1_000_000_000
_WIDEST = 40
_LEAST_WORDS = 20


def list_command(
    index: IndexArgument,
    *,
    filters: FilterOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=0, max=_MOST, help="Show at most N.", metavar="N")
    ] = None,
    offset: Annotated[int, typer.Option(min=0, max=_MOST, help="Leave out the first N.", metavar="N")] = 0,
    as_json: JsonOption = False,
) -> None:
    """List the documents of an index: id, where it comes from (file:line or page, headings), first words.

    reasonembed list docs.index --filter path=policy.md --limit 20
    """
    tree = read_filters(filters)
    with opened_store(index) as store:
        documents = store.documents(tree, limit=None if limit is None else limit + 1, offset=offset)
        shown = _Counted(islice(documents, limit))
        if as_json:
            sources = sources_of(index)
            echo_json(document_record(document, sources) for document in shown)
        else:
            for line in _lines(shown):
                typer.echo(line)
        if shown.count == 0 and limit != 0:
            if offset:
                typer.echo(f"note: no document is left after the first {offset:,}", err=True)
            else:
                note_no_match(store, tree)
        elif next(documents, None) is not None:
            typer.echo(f"note: there are more: --offset {offset + shown.count}", err=True)


class _Counted:
    """Count what an iterator has yielded."""

    def __init__(self, documents: Iterator[Document]) -> None:
        self._documents = documents
        self.count = 0

    def __iter__(self) -> Iterator[Document]:
        for document in self._documents:
            self.count += 1
            yield document


def _lines(documents: _Counted) -> Iterator[str]:
    iterator = iter(documents)
    while page := list(islice(iterator, _PAGE)):
        yield from _aligned(page)


def _aligned(page: Sequence[Document]) -> Iterator[str]:
    """Yield a line per document; ids and places are never truncated, only the words after them."""
    columns = [(one_line(document.id), short_place(document)) for document in page]
    widths = [min(_WIDEST, max(len(row[number]) for row in columns)) for number in (0, 1)]
    for document, row in zip(page, columns, strict=True):
        start = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True) if width)
        words = " ".join(printable(passage_text(document)).split())
        room = max(terminal_width() - len(start) - 2, _LEAST_WORDS)
        yield f"{start}  {words if len(words) <= room else words[: room - 4].rstrip() + ' ...'}".rstrip()
