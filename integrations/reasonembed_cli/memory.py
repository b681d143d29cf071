"""`reasonembed memory`: memories of an index's documents, and answers from them (a GRC-style reconstruction)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.opened import IndexArgument, note_unfinished, opened_store, sources_of
from reasonembed_cli.options import DeviceOption, DtypeOption, InstructionOption, TaskCardOption
from reasonembed_cli.progress import progress_of
from reasonembed_cli.showing import JsonOption, json_text, one_line, place, printable
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag import Document
    from reasonembed_rag.memory import LatentEncoder
    from reasonembed_stores import IndexRetriever

__all__ = ["memory_app"]

memory_app = typer.Typer(
    no_args_is_help=True, help="Answer from memories of documents: a GRC-style reconstruction, see the guide."
)

_LatentOption = Annotated[
    Path, typer.Option("--model", "-m", help="A latent model, as `reasonembed train run` writes it for [latent].")
]
_BackboneOption = Annotated[
    str | None, typer.Option("--backbone", help="Where the latent model's backbone is now, if it moved.")
]
_MemoriesOption = Annotated[
    Path | None, typer.Option("--memories", help="Their folder; by default INDEX.memories, beside the index.")
]


@memory_app.command()
def build(
    index: IndexArgument,
    model: _LatentOption,
    *,
    backbone: _BackboneOption = None,
    memories: _MemoriesOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Compress the documents of an index, each into a memory of one size; only new and changed ones.

    Memories of documents that the index no longer holds are deleted. An interrupted run goes on where it stopped.

    reasonembed memory build docs.index --model runs/latent/model
    """
    from reasonembed_rag.memory import LatentEncoder, MemoryStore

    started = time.monotonic()
    with opened_store(index) as documents:
        encoder = LatentEncoder.from_folder(model, backbone=backbone, device=device, dtype=dtype)
        store = MemoryStore.open(_folder(index, memories), encoder)
        total = len(documents)
        with progress_of("compressing") as (moved,):
            report = store.follow(documents.documents(), encoder, progress=lambda done: moved(done, total))
    typer.echo(
        f"{store.folder}: {len(store):,} memories of {store.memory_bytes:,} bytes; compressed {report.compressed:,}, "
        f"kept {report.kept:,}, deleted {report.deleted:,} in {time.monotonic() - started:.1f} s"
    )


@memory_app.command()
def info(index: IndexArgument, *, memories: _MemoriesOption = None, as_json: JsonOption = False) -> None:
    """Show the memories beside an index: their model, count and bytes, and how many documents have none.

    reasonembed memory info docs.index
    """
    from reasonembed_rag.memory import MemoryStore

    store = MemoryStore.open(_folder(index, memories))
    layers, _, heads, latents, width = store.shape
    with opened_store(index) as documents:
        missing = sum(not store.holds(document) for document in documents.documents())
        count = len(documents)
    if as_json:
        record = {
            "memories": len(store),
            "documents": count,
            "without_memory": missing,
            "model": store.fingerprint,
            "latents": latents,
            "memory_bytes": store.memory_bytes,
            "file_bytes": store.file_bytes,
        }
        typer.echo(json_text(record))
        return
    size = store.memory_bytes // (2 * layers * heads * width * latents)
    for name, value in (
        ("memories", f"{len(store):,}, beside {count:,} documents"),
        ("without a memory of their content", f"{missing:,}"),
        ("model", store.fingerprint),
        ("latents", f"{latents}"),
        (
            "bytes per memory",
            f"{store.memory_bytes:,} = 2 x {layers} layers x {heads} kv heads x {width} x {latents} latents x {size}",
        ),
        ("bytes on disk", f"{store.file_bytes:,}"),
    ):
        typer.echo(f"{name}: {value}")


@memory_app.command()
def ask(  # noqa: PLR0913 - each is an option of the command
    index: IndexArgument,
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
    model: _LatentOption,
    *,
    k: Annotated[int, typer.Option("-k", help="How many documents to answer from.")] = 3,
    from_texts: Annotated[
        bool, typer.Option("--texts", help="Answer from the whole texts, to compare; memories are not read.")
    ] = False,
    max_tokens: Annotated[int, typer.Option(help="Maximum tokens of the answer.")] = 128,
    temperature: Annotated[float, typer.Option(help="0: the likeliest answer; above it, sample.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of a sampled answer.")] = 0,
    stop: Annotated[list[str] | None, typer.Option(help="End the answer before this text (repeatable).")] = None,
    backbone: _BackboneOption = None,
    memories: _MemoriesOption = None,
    index_model: Annotated[str | None, typer.Option(help="Where the index's own model is now, if it moved.")] = None,
    task: TaskCardOption = None,
    instruction: InstructionOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Answer a question from the memories of the documents that the index finds for it.

    reasonembed memory ask docs.index "Why does my list keep growing?" --model runs/latent/model
    """
    from reasonembed_rag.memory import GenerationSettings, LatentEncoder, MemoryAnswers, MemoryStore
    from reasonembed_stores import check_k

    check_k(k)
    settings = GenerationSettings(max_tokens=max_tokens, temperature=temperature, seed=seed, stop=tuple(stop or ()))
    store = None if from_texts else MemoryStore.open(_folder(index, memories))
    encoder = LatentEncoder.from_folder(model, backbone=backbone, device=device, dtype=dtype)
    answers = MemoryAnswers(encoder, store, settings=settings)
    retriever = _retriever(index, encoder, model=index_model, task=task, instruction=instruction)
    [hits] = retriever.search([question], k=k)
    documents = list(hits.documents or ())
    retriever.store.close()
    if not documents:
        raise InputError(f"{index} has no document; want an index with documents")
    if from_texts:
        pieces = encoder.stream(question, texts=[one.content for one in documents], settings=settings)
    else:
        pieces = answers.stream(question, documents)
    for piece in pieces:
        typer.echo(printable(piece), nl=False)
    typer.echo("\n")
    _list_sources(index, documents)
    note_unfinished(index)


def _folder(index: Path, memories: Path | None) -> Path:
    return memories if memories is not None else index.with_name(f"{index.name}.memories")


def _retriever(
    index: Path, encoder: LatentEncoder, *, model: str | None, task: str | None, instruction: str | None
) -> IndexRetriever:
    """Return the index's retriever; where the latent model made its vectors, that one encodes the question."""
    from reasonembed_stores import IndexModel, IndexRetriever, open_store

    store = open_store(index)
    own = store.spec is not None and store.spec.space() == encoder.spec.space()
    return IndexRetriever(store, encoder if own else IndexModel(model=model), task=task, instruction=instruction)


def _list_sources(index: Path, documents: list[Document]) -> None:
    sources = sources_of(index)
    for number, document in enumerate(documents, start=1):
        where = place(document, sources)
        typer.echo(f"[{number}] {one_line(document.id)}{f' {where}' if where else ''}")
