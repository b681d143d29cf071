"""`reasonembed index`: files to a folder that can be searched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.options import ModelOption
from reasonembed_cli.outputs import check_new_folder
from reasonembed_rag.documents import Document, read_jsonl_documents, unique_ids
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["index", "write_index"]

_TEXT = {".md", ".markdown", ".rst", ".txt"}
_LINES = {".jsonl"}


def index(
    source: Annotated[Path, typer.Argument(help="A .jsonl, Markdown or text file, or a folder of such files.")],
    *,
    to: Annotated[Path, typer.Option("--to", "-o", help="The folder to make; it must not hold anything yet.")],
    model: ModelOption = "default",
) -> None:
    """Index documents: text and Markdown in passages under their headings, JSON Lines one document a line.

    reasonembed index docs/ --to docs.index
    """
    check_new_folder(to)
    documents = list(unique_ids(_documents(source)))
    if not documents:
        raise InputError(f"{source}: holds no document; want at least one in {', '.join(sorted(_TEXT | _LINES))} files")

    from reasonembed_rag import Encoder

    encoder = Encoder.from_pretrained(model)
    vectors = encoder.encode_documents([document.content for document in documents], show_progress=True)
    write_index(to, documents, vectors, spec=encoder.spec)
    typer.echo(f'{to}: {len(documents):,} documents; ask with: reasonembed search {to} "your question"')


def write_index(
    folder: Path, documents: Sequence[Document], vectors: NDArray[np.float32], *, spec: EmbeddingSpec
) -> None:
    """Write documents with their vectors to a new folder, whole or not at all."""
    from reasonembed_stores import FaissStore
    from reasonembed_stores.folder import new_folder

    with new_folder(folder) as aside, FaissStore.create(aside, spec=spec) as store:
        store.upsert(documents, vectors)


def _documents(source: Path) -> Iterator[Document]:
    """Yield the documents of a file or of every readable file under a folder, in the order of their paths."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_file() and path.suffix.lower() in _TEXT | _LINES:
                yield from _documents_of_file(path, name=path.relative_to(source).as_posix())
    elif source.is_file():
        if source.suffix.lower() not in _TEXT | _LINES:
            raise InputError(f"{source}: cannot be read; want one of {', '.join(sorted(_TEXT | _LINES))}, or a folder")
        yield from _documents_of_file(source, name=source.name)
    else:
        raise InputError(f"{source}: no such file or folder; want documents to index")


def _documents_of_file(path: Path, *, name: str) -> Iterator[Document]:
    if path.suffix.lower() in _LINES:
        yield from read_jsonl_documents(path)
        return

    from reasonembed_rag.passages import split_passages

    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 ({error.reason}); save it as UTF-8") from error
    for number, passage in enumerate(split_passages(text), start=1):
        metadata = {"path": name, "heading": " > ".join(passage.heading)}
        yield Document(f"{name}#{number}", passage.content, metadata)
