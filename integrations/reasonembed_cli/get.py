"""`reasonembed get`: whole documents of an index."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.opened import IndexArgument, documents_with_ids, opened_store, sources_of
from reasonembed_cli.showing import JsonOption, document_record, echo_json, one_line, place, printable, shown_metadata

if TYPE_CHECKING:
    from reasonembed_rag import Document
    from reasonembed_stores import IndexedSources

__all__ = ["get_command"]

_OURS = frozenset({"path", "line", "page", "heading"})


def get_command(
    index: IndexArgument,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids, as search and list show them.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Show whole documents of an index, with their metadata.

    reasonembed get docs.index policy.md#3
    """
    sources = sources_of(index)
    with opened_store(index) as store:
        documents = documents_with_ids(store, ids, index=index)
        if as_json:
            echo_json(document_record(document, sources) for document in documents)
        else:
            typer.echo("\n\n".join(_described(document, sources) for document in documents))


def _described(document: Document, sources: IndexedSources) -> str:
    """Return the id, the place, the other metadata one per line, and the content below."""
    where = place(document, sources)
    fields = {name: value for name, value in shown_metadata(document).items() if name not in _OURS or not where}
    lines = [f"{name}: {_plain(value)}" for name, value in fields.items()]
    head = [one_line(document.id), *filter(None, [where]), *lines]
    return printable("\n  ".join(head)) + "\n\n" + printable(document.content)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
