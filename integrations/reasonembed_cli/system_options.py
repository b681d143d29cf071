"""The options of what is measured: a model's retriever or a whole system, judged folders, and how queries are run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from reasonembed_cli.options import (
    AdapterOption,
    BackendOption,
    DeviceOption,
    DtypeOption,
    HitsOption,
    IndexOption,
    LimitOption,
    QueryBatchOption,
    SplitOption,
    SystemModelOption,
)
from reasonembed_cli.system_choice import StoreKind, SystemChoice, Through
from reasonembed_rag.pipeline import RetrieverKind

if TYPE_CHECKING:
    from reasonembed_rag.evaluation import RetrievalTask, RunOptions

__all__ = ["FolderOptions", "RetrieverOptions", "RunningOptions", "SystemOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrieverOptions:
    """A model's retriever, BM25 or both."""

    panel: ClassVar[str] = "System"
    model: SystemModelOption = None
    adapter: AdapterOption = None
    device: DeviceOption = None
    dtype: DtypeOption = "auto"
    backend: BackendOption = "auto"
    retriever: Annotated[RetrieverKind, typer.Option(help="The retriever.")] = "model"
    weight: Annotated[float, typer.Option(help="The model's weight in a hybrid.")] = 0.5

    def choice(self, *, cache: Path | None, index: Path | None = None) -> SystemChoice:
        """Return the system; with an index, that one as it is searched, by this model where one is named."""
        from reasonembed_rag.encoder import EncoderSettings

        settings = EncoderSettings(
            model=self.model or "default",
            adapter=self.adapter,
            device=self.device,
            dtype=self.dtype,
            backend=self.backend,
        )
        return SystemChoice(
            settings=settings,
            kind=self.retriever,
            weight=self.weight,
            cache=cache,
            index=index,
            index_model=None if index is None else self.model,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemOptions(RetrieverOptions):
    """A retriever, run by the core or a framework; or a saved index; or a component."""

    through: Annotated[Through, typer.Option(help="Run the model through a framework's own classes.")] = "core"
    store: Annotated[StoreKind, typer.Option(help="The vector store that the framework searches.")] = "faiss"
    component: Annotated[
        str | None,
        typer.Option(
            help="Measure your own component instead: module:object, of LangChain, LlamaIndex or plain Python."
        ),
    ] = None
    index: IndexOption = None

    def system(self, *, cache: Path | None) -> SystemChoice:
        """Return the system."""
        choice = self.choice(cache=cache, index=self.index)
        return replace(choice, through=self.through, store=self.store, component=self.component)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderOptions:
    """Folders of judged queries, each a task."""

    panel: ClassVar[str] = "Tasks"
    data: Annotated[
        list[str],
        typer.Option(
            metavar="FOLDER[:SPLIT]",
            help="A folder of documents and examples[.split]; give it again for more tasks.",
        ),
    ]
    split: SplitOption = None
    limit: LimitOption = None

    def load(self) -> list[RetrievalTask]:
        """Return the tasks; raises InputError for a folder that cannot be read."""
        from reasonembed_rag.evaluation import load_task

        named = map(_folder_and_split, self.data)
        return [load_task(None, folder=folder, split=own or self.split, limit=self.limit) for folder, own in named]


def _folder_and_split(text: str) -> tuple[Path, str | None]:
    """Return the folder and its own split, if one is named behind a colon; a folder of the whole name comes first."""
    folder, colon, split = text.rpartition(":")
    return (Path(text), None) if not colon or Path(text).is_dir() else (Path(folder), split)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningOptions:
    """How queries are run."""

    panel: ClassVar[str] = "Run"
    k: HitsOption = 100
    query_batch: QueryBatchOption = 1
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Count a failed query as 0 and continue, instead of stopping there.")
    ] = False

    def run_options(self) -> RunOptions:
        """Return the options as evaluation takes them; raises InputError for numbers below 1."""
        from reasonembed_rag.evaluation import RunOptions

        return RunOptions(k=self.k, batch_size=self.query_batch, keep_going=self.keep_going)
