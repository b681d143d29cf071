"""`reasonembed export`: the documents of an index as JSON Lines."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import typer

from reasonembed_cli.filtering import FilterOption, read_filters
from reasonembed_cli.opened import IndexArgument, note_no_match, opened_store
from reasonembed_cli.outputs import check_output_file

__all__ = ["export_command"]


def export_command(
    index: IndexArgument,
    *,
    to: Annotated[
        Path, typer.Option("--jsonl", "-o", help="The file to write, packed if it ends in .gz; - is stdout.")
    ],
    filters: FilterOption = None,
    vectors: Annotated[bool, typer.Option("--vectors", help='Add each vector, as "vector".')] = False,
) -> None:
    """Write the documents of an index as JSON Lines: id, content, metadata.

    `reasonembed index` reads the file again as the same documents, for example with another model.

    reasonembed export docs.index --jsonl docs.jsonl
    """
    from reasonembed_stores import exported_lines

    tree = read_filters(filters)
    if str(to) != "-":
        check_output_file(to)
    with opened_store(index) as store:
        count = 0
        with _opened(to) as file:
            for line in exported_lines(store, filters=tree, vectors=vectors):
                file.write(line)
                count += 1
        if not count:
            note_no_match(store, tree)
    typer.echo(f"{to}: {count:,} {'document' if count == 1 else 'documents'}", err=str(to) == "-")


@contextmanager
def _opened(to: Path) -> Iterator[BinaryIO]:
    from reasonembed_rag.files import replacing

    if str(to) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with replacing(to) as file:
        if to.suffix == ".gz":
            with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
                yield cast("BinaryIO", packed)
        else:
            yield file
