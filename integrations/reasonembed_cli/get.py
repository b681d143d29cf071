"""`reasonembed get`: whole documents of an index."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.opened import IndexArgument, documents_with_ids, opened_store
from reasonembed_cli.showing import JsonOption, document_record, echo_json, place, printable

if TYPE_CHECKING:
    from reasonembed_rag import Document

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
    with opened_store(index) as store:
        documents = documents_with_ids(store, ids, index=index)
        if as_json:
            echo_json(map(document_record, documents))
        else:
            typer.echo("\n\n".join(map(_described, documents)))


def _described(document: Document) -> str:
    """Return the id, the place, the other metadata one per line, and the content below."""
    fields = {name: value for name, value in document.metadata.items() if name not in _OURS or not place(document)}
    lines = [f"{name}: {_plain(value)}" for name, value in fields.items()]
    head = [document.id, *filter(None, [place(document)]), *lines]
    return printable("\n  ".join(head)) + "\n\n" + printable(document.content)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
