"""`reasonembed export`: the documents of an index as JSON Lines, or a model as a folder for other programs."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, cast

import typer

from reasonembed_cli.filtering import FilterOption, read_filters
from reasonembed_cli.opened import note_no_match, opened_store
from reasonembed_cli.options import AdapterOption
from reasonembed_cli.outputs import check_output_file
from reasonembed_rag.errors import InputError

__all__ = ["export_command"]

_Kind = Literal["sentence-transformers", "onnx", "openvino", "gguf-note"]


def export_command(  # noqa: PLR0913 - every option of the command
    source: Annotated[
        str,
        typer.Argument(
            metavar="INDEX|MODEL",
            help="A folder that `reasonembed index` wrote; with --to a model folder, a Hugging Face id or 'default'.",
            show_default=False,
        ),
    ],
    *,
    lines: Annotated[
        Path | None,
        typer.Option("--jsonl", "-o", help="The file to write, packed if it ends in .gz; - is stdout."),
    ] = None,
    filters: FilterOption = None,
    vectors: Annotated[bool, typer.Option("--vectors", help='Add each vector, as "vector".')] = False,
    to: Annotated[Path | None, typer.Option(help="The folder that a model is written to.")] = None,
    kind: Annotated[
        _Kind, typer.Option("--format", help="For sentence-transformers, with a graph, or with llama.cpp's commands.")
    ] = "sentence-transformers",
    adapter: AdapterOption = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="The weights' number format: auto is the files', or float32 where an adapter is merged."),
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model that was exported there.")] = False,
) -> None:
    """Write the documents of an index as JSON Lines, or a model as a folder that other programs load.

    `reasonembed index` reads the lines again as the same documents, for example with another model. The folder of a
    model has its adapter merged, and is loaded by sentence-transformers, Text Embeddings Inference and Infinity.

    reasonembed export docs.index --jsonl docs.jsonl

    reasonembed export default --to my-model --format onnx
    """
    if (lines is None) == (to is None):
        raise InputError("want --jsonl FILE for the documents of an index, or --to FOLDER for a model")
    if lines is not None:
        if adapter or overwrite or kind != "sentence-transformers" or dtype != "auto":
            raise InputError("--format, --adapter, --dtype and --overwrite are for a model; leave them out")
        _export_documents(Path(source), lines, filters=filters, vectors=vectors)
    elif to is not None:
        if vectors or filters:
            raise InputError("--vectors and filters are for the documents of an index; leave them out")
        if any(Path(source, name).is_file() for name in ("manifest.json", "chroma.sqlite3")):
            raise InputError(f"{source} is an index, --to is for models; want --jsonl FILE for its documents")
        from reasonembed_rag import EncoderSettings
        from reasonembed_rag.export import save_model

        settings = EncoderSettings(model=source, adapter=adapter)
        save_model(settings, to, kind=kind, dtype=dtype, overwrite=overwrite)
        typer.echo(f"{to}: {source} for {kind}")


def _export_documents(index: Path, to: Path, *, filters: list[str] | None, vectors: bool) -> None:
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
