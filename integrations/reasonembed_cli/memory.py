"""`reasonembed memory`: memories of an index's documents, and answers from them (a GRC-style reconstruction)."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from reasonembed_cli.opened import IndexArgument, note_unfinished, opened_store, sources_of
from reasonembed_cli.option_groups import with_options
from reasonembed_cli.options import DeviceOption, DtypeOption, InstructionOption, TaskCardOption
from reasonembed_cli.progress import progress_of
from reasonembed_cli.showing import JsonOption, json_text, one_line, place, printable
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag import Document
    from reasonembed_rag.memory import GenerationSettings, LatentEncoder

__all__ = ["memory_app"]

memory_app = typer.Typer(
    no_args_is_help=True, help="Answer from memories of documents: a GRC-style reconstruction, see the guide."
)

_MemoriesOption = Annotated[
    Path | None, typer.Option("--memories", help="Their folder; by default INDEX.memories, beside the index.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _LatentOptions:
    """The latent model, and what runs it."""

    panel: ClassVar[str] = "The latent model"
    model: Annotated[
        Path,
        typer.Option(
            "--model",
            "-m",
            help="A latent model, as `reasonembed train run` writes it from a recipe with a table latent.",
        ),
    ]
    backbone: Annotated[
        str | None, typer.Option("--backbone", help="Where the latent model's backbone is now, if it moved.")
    ] = None
    device: DeviceOption = None
    dtype: DtypeOption = "auto"

    def load(self) -> LatentEncoder:
        from reasonembed_rag.memory import LatentEncoder

        return LatentEncoder.from_folder(self.model, backbone=self.backbone, device=self.device, dtype=self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class _AnswerOptions:
    """How an answer is written."""

    panel: ClassVar[str] = "The answer"
    max_tokens: Annotated[int, typer.Option(help="Maximum tokens of the answer.")] = 128
    temperature: Annotated[float, typer.Option(help="0: the likeliest answer; above it, sample.")] = 0.0
    seed: Annotated[int, typer.Option(help="Seed of a sampled answer.")] = 0
    stop: Annotated[list[str] | None, typer.Option(help="End the answer before this text (repeatable).")] = None

    def settings(self) -> GenerationSettings:
        from reasonembed_rag.memory import GenerationSettings

        return GenerationSettings(**{**asdict(self), "stop": tuple(self.stop or ())})


@dataclass(frozen=True, slots=True, kw_only=True)
class _SearchOptions:
    """What finds the documents."""

    panel: ClassVar[str] = "The search"
    k: Annotated[int, typer.Option("-k", help="How many documents to answer from.")] = 3
    index_model: Annotated[str | None, typer.Option(help="Where the index's own model is now, if it moved.")] = None
    task: TaskCardOption = None
    instruction: InstructionOption = None

    def search(self, index: Path, question: str, encoder: LatentEncoder) -> list[Document]:
        """Return the documents found; where the latent model made the index's vectors, it encodes the question."""
        from reasonembed_stores import IndexModel, IndexRetriever, open_store

        with closing(open_store(index)) as store:
            own = store.spec is not None and store.spec.space() == encoder.spec.space()
            model = encoder if own else IndexModel(model=self.index_model)
            retriever = IndexRetriever(store, model, task=self.task, instruction=self.instruction)
            [hits] = retriever.search([question], k=self.k)
        if not hits.documents:
            raise InputError(f"{index} has no document; want an index with documents")
        return list(hits.documents)


@memory_app.command()
@with_options
def build(index: IndexArgument, *, latent: _LatentOptions, memories: _MemoriesOption = None) -> None:
    """Compress the documents of an index, each into a memory of one size; only new and changed ones.

    Memories of documents that the index no longer holds are deleted. An interrupted run goes on where it stopped.

    reasonembed memory build docs.index --model runs/latent/model
    """
    from reasonembed_rag.memory import MemoryStore

    started = time.monotonic()
    with opened_store(index) as documents:
        encoder = latent.load()
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
@with_options
def ask(
    index: IndexArgument,
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
    *,
    latent: _LatentOptions,
    search: _SearchOptions,
    answer: _AnswerOptions,
    from_texts: Annotated[
        bool, typer.Option("--texts", help="Answer from the whole texts, to compare; memories are not read.")
    ] = False,
    memories: _MemoriesOption = None,
) -> None:
    """Answer a question from the memories of the documents that the index finds for it.

    reasonembed memory ask docs.index "Why does my list keep growing?" --model runs/latent/model
    """
    from reasonembed_rag.memory import MemoryAnswers, MemoryStore
    from reasonembed_stores import check_k

    check_k(search.k)
    settings = answer.settings()
    store = None if from_texts else MemoryStore.open(_folder(index, memories))
    encoder = latent.load()
    answers = MemoryAnswers(encoder, store, settings=settings)
    documents = search.search(index, question, encoder)
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
    whole = index.absolute()  # "." has no name of its own
    return memories if memories is not None else whole.with_name(f"{whole.name}.memories")


def _list_sources(index: Path, documents: list[Document]) -> None:
    sources = sources_of(index)
    for number, document in enumerate(documents, start=1):
        where = place(document, sources)
        typer.echo(f"[{number}] {one_line(document.id)}{f' {where}' if where else ''}")
