"""An index that a command reads: opened, closed, with what its user should know."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reasonembed_cli.showing import printable
from reasonembed_rag.errors import InputError, StoreError

if TYPE_CHECKING:
    from reasonembed_rag import Document
    from reasonembed_stores import FilterLike, IndexedSources, Store

__all__ = [
    "UNFINISHED",
    "IndexArgument",
    "documents_with_ids",
    "note_no_match",
    "note_unfinished",
    "opened_store",
    "sources_of",
]

IndexArgument = Annotated[Path, typer.Argument(help="A folder that `reasonembed index` wrote.", show_default=False)]

_LOOKED_AT = 20_000
"""Documents among which a similar id is looked for, and their fields."""
_NAMED = 3
UNFINISHED = "an index run was interrupted, run it again; or it is still under way"
_FIELDS = 30
_EXAMPLE = 30


@contextmanager
def opened_store(index: Path) -> Iterator[Store]:
    """Open the store of an index for a block, and say on stderr if documents may be missing."""
    from reasonembed_stores import open_store

    store = open_store(index)
    try:
        yield store
    finally:
        store.close()
    note_unfinished(index)


def sources_of(index: Path) -> IndexedSources:
    """Return what an index was made of; if that is damaged, nothing, with a note: documents can be shown without."""
    from reasonembed_stores import IndexedSources, indexed_sources

    try:
        return indexed_sources(index)
    except StoreError as error:
        typer.echo(f"note: {error}", err=True)
        return IndexedSources()


def note_unfinished(index: Path) -> None:
    """Say on stderr if an index run is under way, or was interrupted."""
    from reasonembed_stores import is_unfinished

    if is_unfinished(index):
        typer.echo(f"note: {index} is not complete: {UNFINISHED}", err=True)


def documents_with_ids(store: Store, ids: Sequence[str], *, index: Path) -> list[Document]:
    """Return the documents of these ids, each once; raises InputError that names similar ids for an unknown one."""
    wanted = list(dict.fromkeys(ids))
    found = store.get(wanted)
    unknown = sorted({*wanted} - {document.id for document in found})
    if unknown:
        more = f" (and {len(unknown) - 1} more of the ids)" if len(unknown) > 1 else ""
        raise InputError(f"{index} has no document {unknown[0]!r}{more}; {_cure(store, unknown[0], index)}")
    return found


def _cure(store: Store, unknown: str, index: Path) -> str:
    known = [document.id for document in store.documents(limit=_LOOKED_AT)]
    file = unknown.partition("#")[0]
    passages = [one for one in known if one.casefold().startswith(f"{file}#".casefold())]
    if passages:
        first = passages[0].partition("#")[0]
        return f"it has {_listed(passages)}: list them with reasonembed list {index} --filter 'path={first}'"
    folded = unknown.casefold()
    similar = [one for one in known if folded in one.casefold()] or get_close_matches(unknown, known, n=_NAMED)
    if similar:
        return f"did you mean {_listed(similar)}?"
    return f"list the ids with: reasonembed list {index}" if known else "it is empty"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_NAMED])) + (", ..." if len(names) > _NAMED else "")


def note_no_match(store: Store, filters: FilterLike | None) -> None:
    """Say on stderr that nothing was found, and which metadata fields a filter can name."""
    if filters is None or not len(store):
        typer.echo("note: the index has no documents" if not len(store) else "note: no document was found", err=True)
        return
    examples: dict[str, Any] = {}
    for document in store.documents(limit=_LOOKED_AT):
        examples |= {name: value for name, value in document.metadata.items() if examples.get(name) in (None, "", [])}
    shown = [f"{name} ({_example(examples[name])})" for name in sorted(examples)[:_FIELDS]]
    more = ", ..." if len(examples) > _FIELDS else ""
    named = ", ".join(shown) + more if shown else "none"
    typer.echo(f"note: no document satisfies the filter; fields of the metadata, with a value each: {named}", err=True)


def _example(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return printable(text if len(text) <= _EXAMPLE else f"{text[:_EXAMPLE]} ...")
