"""Systems of frameworks: a model through their embedding, store and retriever classes, and components of yours."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasonembed_rag.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from reasonembed_cli.progress import ProgressCallback
    from reasonembed_cli.system_choice import SystemChoice
    from reasonembed_rag.documents import Document
    from reasonembed_rag.evaluation import RetrievalTask
    from reasonembed_rag.hits import Hits
    from reasonembed_rag.protocols import Embedder, Retriever, Usage

__all__ = ["component_retriever", "load_component", "open_through", "through_of"]

_PACKAGE = {"langchain": "langchain-core", "llama-index": "llama-index-core"}


@contextmanager
def open_through(
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
    found: Any
    if choice.through == "langchain":
        from langchain_reasonembed import ReasonEmbedRetriever as LangChainRetriever

        found = LangChainRetriever(index=str(index), model=_shared_name(choice), instruction=choice.instruction(task))
    else:
        from llama_index.retrievers.reasonembed import ReasonEmbedRetriever as LlamaIndexRetriever

        found = LlamaIndexRetriever(str(index), model=_shared_name(choice), instruction=choice.instruction(task))
    return component_retriever(found, task.documents, use_async=choice.use_async)


def _shared_name(choice: SystemChoice) -> str:
    """Return the name by which the frameworks' classes find the loaded model, whatever its settings."""
    from reasonembed_rag.encoder import EncoderSettings, share_embedder

    model = choice.settings.model
    if choice.settings == EncoderSettings(model=model):
        return model
    name = f"{model} as it is evaluated"
    share_embedder(name, choice.embedder)
    return name


def load_component(path: str) -> Any:
    """Import module:object; raises InputError if that fails."""
    module, _, name = path.partition(":")
    if not module or not name:
        raise InputError(f"component is {path!r}; want module:object, for example my_app.search:retriever")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"component {path!r} cannot be imported ({error}); is its folder on PYTHONPATH?") from error


def through_of(component: object) -> str:
    """Return the framework of an object, by the modules of its classes: no framework is imported for it."""
    roots = {base.__module__.partition(".")[0] for base in type(component).__mro__}
    return "langchain" if "langchain_core" in roots else "llama-index" if "llama_index" in roots else "core"


def component_retriever(component: Any, documents: Sequence[Document], *, use_async: bool) -> Retriever:
    """Return a framework's retriever, a core one or a function as a Retriever; raises InputError for anything else."""
    from reasonembed_rag.protocols import Retriever

    through = through_of(component)
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
