"""The systems that `reasonembed eval run` measures: a model, BM25, a hybrid, a saved index, or a component of yours."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from reasonembed_cli.eval_index import open_index
from reasonembed_cli.pipelines import task_context
from reasonembed_rag.errors import InputError, MissingDependencyError, want_one_of
from reasonembed_rag.pipeline import RetrieverKind

if TYPE_CHECKING:
    from reasonembed_cli.progress import ProgressCallback
    from reasonembed_rag.documents import Document
    from reasonembed_rag.encoder import EncoderSettings
    from reasonembed_rag.evaluation import RetrievalTask, System
    from reasonembed_rag.hits import Hits
    from reasonembed_rag.pipeline import PipelineSettings, StageContext
    from reasonembed_rag.protocols import Embedder, Retriever, Usage
    from reasonembed_stores import IndexModel

__all__ = [
    "StoreKind",
    "SystemChoice",
    "Through",
    "describe_system",
    "embedder_of",
    "open_retriever",
    "open_task_context",
]

Through = Literal["core", "langchain", "llama-index"]
StoreKind = Literal["faiss", "chroma"]

_PACKAGE = {"langchain": "langchain-core", "llama-index": "llama-index-core"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemChoice:
    """The system that is measured, and the way it is called."""

    settings: EncoderSettings
    kind: RetrieverKind = "model"
    weight: float = 0.5
    """The model's weight in a hybrid; BM25 has the rest."""
    through: Through = "core"
    use_async: bool = False
    """Whether the framework's async methods are called."""
    store: StoreKind = "faiss"
    component: str | None = None
    """module:object of a LangChain or LlamaIndex component or a function of (query, k)."""
    cache: Path | None = None
    index: Path | None = None
    """A saved index to search instead of the task's documents, with the index's own model."""
    index_model: str | None = None
    """Where the index's model is now, if it moved since the index was written."""
    pipeline: PipelineSettings | None = None
    """Stages around the retriever."""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("retriever", self.kind, get_args(RetrieverKind)),
            ("through", self.through, get_args(Through)),
            ("store", self.store, get_args(StoreKind)),
        ):
            if value not in known:
                raise InputError(f"{name} is {value!r}; {want_one_of(value, known)}")
        if self.kind.startswith("bm25") and self.through != "core":
            raise InputError(f"BM25 runs in core only; leave --through {self.through} out")
        if self.use_async and self.through == "core" and self.component is None:
            raise InputError("the core has no async search; add a framework to --async: --through langchain")
        if not 0.0 < self.weight < 1.0:
            raise InputError(f"weight is {self.weight}; want a number between 0 and 1")
        if self.index is not None:
            self._check_index()

    def _check_index(self) -> None:
        settings = self.settings
        for option, differs in (
            ("--adapter", settings.adapter is not None),
            ("--max-query-length", settings.max_query_length is not None),
            ("--max-document-length", settings.max_document_length is not None),
            ("--component", self.component is not None),
            (f"--through {self.through}", self.through != "core"),
            (f"--retriever {self.kind}", self.kind.startswith("bm25")),
        ):
            if differs:
                raise InputError(f"the index {self.index} is searched as it is, with its own model; leave {option} out")

    @property
    def needs_model(self) -> bool:
        """Whether the model is loaded to encode the task's documents."""
        return self.component is None and self.index is None and self.kind in {"model", "hybrid"}

    @property
    def retriever_name(self) -> str:
        """The name by which build_retriever knows the system."""
        names = {"model": self.settings.model, "hybrid": f"hybrid:{self.settings.model}"}
        return names.get(self.kind, self.kind)


def describe_system(choice: SystemChoice, task: RetrievalTask) -> System:
    """Describe the system for the report of a task; loads the model if there is one."""
    bare = _describe_retriever(choice, task)
    if choice.pipeline is None:
        return bare
    settings = dict(bare.settings) | {"pipeline": choice.pipeline.to_json()}
    return replace(bare, name=" | ".join((bare.name, *choice.pipeline.stages)), settings=settings)


def _describe_retriever(choice: SystemChoice, task: RetrievalTask) -> System:
    from reasonembed_rag.evaluation import System

    if choice.component is not None:
        return System(name=choice.component, through=_through_of(_load_component(choice.component)))
    bm25 = "BM25 query-side" if choice.kind == "bm25-query-side" else "BM25"
    settings: dict[str, str | int | float | bool | None]
    if choice.index is not None:
        with open_index(choice.index, _index_model(choice), task) as retriever:
            spec, settings = retriever.spec, {"instruction": retriever.instruction, "index": str(choice.index)}
        model, adapter = spec.model, spec.adapter
    elif choice.needs_model:
        spec, settings = embedder_of(choice).spec, {"instruction": _instruction(choice, task)}
        model, adapter = choice.settings.model, choice.settings.adapter
    else:
        return System(name=bm25, settings={"k1": 0.9, "b": 0.4})
    if choice.through != "core":
        settings["store"] = choice.store
    if choice.kind == "hybrid":
        settings |= {"weight": choice.weight, "fusion": "scores"}
    name = " + ".join(filter(None, (model, adapter, bm25 if choice.kind == "hybrid" else None)))
    return System(name=name, through=choice.through, spec=spec, settings=settings)


@contextmanager
def open_retriever(
    choice: SystemChoice, task: RetrievalTask, *, on_progress: ProgressCallback | None = None
) -> Iterator[Retriever]:
    """Open the retriever of a task's documents, indexed, with the stages around it.

    `on_progress` is called with the progress of the encoding. Raises InputError for a task without documents, a
    component that cannot be imported, and stages that cannot be built.
    """
    if choice.pipeline is None:
        with _open_bare(choice, task, on_progress) as bare:
            yield bare
        return
    from reasonembed_rag.pipeline import Pipeline

    with open_task_context(choice.pipeline, choice, task) as context:
        stages = choice.pipeline.open(context)  # before the documents are encoded
        with _open_bare(choice, task, on_progress) as bare:
            yield Pipeline(bare, stages)


@contextmanager
def open_task_context(settings: PipelineSettings, choice: SystemChoice, task: RetrievalTask) -> Iterator[StageContext]:
    """Open what the stages need on a task, other retrievers over its documents as the system's is opened.

    Over an index the router is the one beside it.
    """
    from reasonembed_rag.pipeline import build_retriever
    from reasonembed_stores import router_beside

    def opened(name: str) -> Retriever:
        return build_retriever(name, task.documents, settings=choice.settings, cache=choice.cache)

    with task_context(settings, task, retrievers=opened) as context:
        yield context if choice.index is None else replace(context, router=router_beside(choice.index))


@contextmanager
def _open_bare(choice: SystemChoice, task: RetrievalTask, on_progress: ProgressCallback | None) -> Iterator[Retriever]:
    if not task.documents:
        raise InputError(f"task {task.name!r} has no documents to search; it can score run files: --run FILE")
    if choice.component is not None:
        yield _component_retriever(_load_component(choice.component), task.documents, use_async=choice.use_async)
    elif choice.index is not None:
        with open_index(choice.index, _index_model(choice), task) as index:
            yield _with_bm25(index, choice, task)
    elif choice.through != "core":
        with _open_through(choice, task, on_progress) as dense:
            yield _with_bm25(dense, choice, task)
    else:
        from reasonembed_rag.pipeline import build_retriever

        yield build_retriever(
            choice.retriever_name,
            task.documents,
            settings=choice.settings,
            instruction=_instruction(choice, task) if choice.needs_model else None,
            cache=choice.cache,
            progress=on_progress,
            model_weight=choice.weight,
            bm25_weight=1.0 - choice.weight,
        )


def _with_bm25(dense: Retriever, choice: SystemChoice, task: RetrievalTask) -> Retriever:
    """Return the retriever, fused with BM25 for a hybrid."""
    from reasonembed_rag.pipeline import Fusion, Weighted
    from reasonembed_rag.retrieval import BM25

    if choice.kind != "hybrid":
        return dense
    return Fusion([Weighted(dense, choice.weight), Weighted(BM25(task.documents), 1.0 - choice.weight)])


def _index_model(choice: SystemChoice) -> IndexModel:
    from reasonembed_stores import IndexModel

    settings = choice.settings
    return IndexModel(model=choice.index_model, device=settings.device, dtype=settings.dtype, backend=settings.backend)


def embedder_of(choice: SystemChoice) -> Embedder:
    """Return the model, loaded once in the process whichever framework calls it."""
    from reasonembed_rag.encoder import shared_encoder

    return shared_encoder(choice.settings).embedder


def _shared_name(choice: SystemChoice) -> str:
    """Return the name by which the frameworks' classes find the loaded model, whatever its settings."""
    from reasonembed_rag.encoder import EncoderSettings, share_embedder

    model = choice.settings.model
    if choice.settings == EncoderSettings(model=model):
        return model
    name = f"{model} as it is evaluated"
    share_embedder(name, embedder_of(choice))
    return name


def _instruction(choice: SystemChoice, task: RetrievalTask) -> str | None:
    """Return the instruction of the task's card, if the task has one and the model takes instructions."""
    return task.card.instruction if task.card and embedder_of(choice).spec.takes_instruction else None


@contextmanager
def _open_through(
    choice: SystemChoice, task: RetrievalTask, on_progress: ProgressCallback | None
) -> Iterator[Retriever]:
    """Index the task's documents and open the framework's retriever."""
    from reasonembed_rag.protocols import Usage

    with tempfile.TemporaryDirectory(prefix="reasonembed-eval-") as folder:
        start = time.perf_counter()
        index = Path(folder) / "index"
        _fill(index, choice, task.documents, on_progress)
        usage = Usage(
            encoding_seconds=time.perf_counter() - start,
            index_bytes=sum(path.stat().st_size for path in index.rglob("*") if path.is_file()),
        )
        yield _WithUsage(_framework_retriever(choice, task, index), usage)


def _fill(
    index: Path, choice: SystemChoice, documents: Sequence[Document], on_progress: ProgressCallback | None
) -> None:
    """Encode the documents with the framework's embedding class and put them into a store."""
    from reasonembed_rag.encoder import encode_corpus
    from reasonembed_stores import ChromaStore, FaissStore

    embedder = _framework_embedder(choice)
    shards = encode_corpus(embedder, documents, cache=choice.cache, progress=on_progress)
    store: FaissStore | ChromaStore
    if choice.store == "faiss":
        store = FaissStore.create(index, spec=embedder.spec)
    else:
        # Search the whole graph: a measurement of the model must not include Chroma's recall.
        store = ChromaStore.create(index, spec=embedder.spec, ef_search=max(100, len(documents)), max_neighbors=64)
    start = 0
    for shard in shards:
        store.upsert(documents[start : start + len(shard)], shard)
        start += len(shard)
    store.close()


def _framework_embedder(choice: SystemChoice) -> Embedder:
    """Return the framework's embedding class, which is a core Embedder too."""
    try:
        if choice.through == "langchain":
            from langchain_reasonembed import ReasonEmbedEmbeddings

            return ReasonEmbedEmbeddings(model=_shared_name(choice))
        from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding

        return ReasonEmbedEmbedding(model_name=_shared_name(choice))
    except ImportError as error:
        raise MissingDependencyError(_PACKAGE[choice.through], choice.through) from error


def _framework_retriever(choice: SystemChoice, task: RetrievalTask, index: Path) -> Retriever:
    instruction = _instruction(choice, task)
    if choice.through == "langchain":
        from langchain_reasonembed import ReasonEmbedRetriever as LangChainRetriever
        from langchain_reasonembed import as_retriever as langchain_as_retriever

        retriever = LangChainRetriever(index=str(index), model=_shared_name(choice), instruction=instruction)
        return langchain_as_retriever(retriever, task.documents, use_async=choice.use_async)
    from llama_index.retrievers.reasonembed import ReasonEmbedRetriever as LlamaIndexRetriever
    from llama_index.retrievers.reasonembed import as_retriever as llama_index_as_retriever

    node_retriever = LlamaIndexRetriever(str(index), model=_shared_name(choice), instruction=instruction)
    return llama_index_as_retriever(node_retriever, task.documents, use_async=choice.use_async)


def _load_component(path: str) -> Any:
    """Import module:object; raises InputError if that fails."""
    module, _, name = path.partition(":")
    if not module or not name:
        raise InputError(f"component is {path!r}; want module:object, for example my_app.search:retriever")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"component {path!r} cannot be imported ({error}); is its folder on PYTHONPATH?") from error


def _through_of(component: object) -> str:
    """Return the framework of an object, by the modules of its classes: no framework is imported for it."""
    roots = {base.__module__.partition(".")[0] for base in type(component).__mro__}
    return "langchain" if "langchain_core" in roots else "llama-index" if "llama_index" in roots else "core"


def _component_retriever(component: Any, documents: Sequence[Document], *, use_async: bool) -> Retriever:
    from reasonembed_rag.protocols import Retriever

    through = _through_of(component)
    if through == "langchain":
        from langchain_reasonembed import as_retriever as langchain_as_retriever

        return langchain_as_retriever(component, documents, use_async=use_async)
    if through == "llama-index":
        from llama_index.retrievers.reasonembed import as_retriever as llama_index_as_retriever

        return llama_index_as_retriever(component, documents, use_async=use_async)
    if isinstance(component, Retriever):
        return component
    if callable(component):
        from reasonembed_rag.retrieval import CallableRetriever

        return CallableRetriever(component)
    raise InputError(f"component is a {type(component).__name__}; want a retriever or a function of (query, k)")


class _WithUsage:
    """A retriever with the usage of building its index."""

    def __init__(self, retriever: Retriever, usage: Usage) -> None:
        self._retriever = retriever
        self._usage = usage

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        return self._retriever.search(queries, k=k, excluded_ids=excluded_ids)

    def usage(self) -> Usage:
        return self._usage
