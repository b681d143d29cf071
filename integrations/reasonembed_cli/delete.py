"""`reasonembed delete`: remove documents from an index."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.filtering import FILTER_HELP, read_filters
from reasonembed_cli.opened import IndexArgument, documents_with_ids, note_no_match, opened_store, sources_of
from reasonembed_cli.showing import JsonOption, json_text
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_stores import Store

__all__ = ["delete_command"]


def delete_command(
    index: IndexArgument,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", help="Ids, as search and list show them.")
    ] = None,
    *,
    where: Annotated[
        list[str] | None, typer.Option("--where", "--filter", "-f", metavar="FILTER", help=FILTER_HELP)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --where: delete without asking.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete documents from an index, by id or all that satisfy a filter; the files they come from stay as they are.

    reasonembed delete docs.index policy.md#3

    reasonembed delete docs.index --where path=policy.md
    """
    if bool(ids) == bool(where):
        raise InputError(
            "delete wants either ids or --where FILTER; list shows both: reasonembed list DIR --filter ..."
        )
    with opened_store(index) as store:
        if where:
            chosen = _matching(store, where, index=index, yes=yes)
        else:
            chosen = [document.id for document in documents_with_ids(store, ids or [], index=index)]
        deleted = store.delete(chosen)
        left = len(store)
    if as_json:
        typer.echo(json_text({"deleted": deleted, "ids": chosen, "documents": left}))
    else:
        typer.echo(f"{index}: {deleted:,} deleted, {left:,} left")
    if deleted and sources_of(index).sources:
        typer.echo(
            "note: the next `reasonembed index` adds them again while their files are there; change or remove these or "
            "leave them out with --exclude",
            err=True,
        )


def _matching(store: Store, where: list[str], *, index: Path, yes: bool) -> list[str]:
    """Return the ids that the filter chooses, once the user agrees to their number."""
    filters = read_filters(where, option="--where")
    chosen = [document.id for document in store.documents(filters)]
    if not chosen:
        note_no_match(store, filters)
    elif not yes:
        counted = f"{len(chosen):,} of the {len(store):,} documents of {index}"
        if not sys.stdin.isatty():
            raise InputError(f"the filter chooses {counted}; add --yes to delete them")
        if not typer.confirm(f"Delete {counted}?", err=True):
            typer.echo("nothing was deleted", err=True)
            raise typer.Exit(1)
    return chosen
