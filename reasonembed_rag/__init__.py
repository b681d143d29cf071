"""Find the documents that a question needs, where the link is reasoning rather than shared words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasonembed_rag.documents import Document
    from reasonembed_rag.encoder import Encoder, EncoderSettings, RemoteEncoder
    from reasonembed_rag.errors import ReasonEmbedError
    from reasonembed_rag.evaluation import compare, evaluate, load_task
    from reasonembed_rag.hits import Hit, Hits
    from reasonembed_rag.protocols import Embedder, Retriever
    from reasonembed_rag.retrieval import BM25, exact_search
    from reasonembed_rag.spec import EmbeddingSpec
    from reasonembed_rag.tasks import TaskCard, get_task

__version__ = "0.1.0.dev0"

__all__ = [
    "BM25",
    "Document",
    "Embedder",
    "EmbeddingSpec",
    "Encoder",
    "EncoderSettings",
    "Hit",
    "Hits",
    "ReasonEmbedError",
    "RemoteEncoder",
    "Retriever",
    "TaskCard",
    "__version__",
    "compare",
    "evaluate",
    "exact_search",
    "get_task",
    "load_task",
]

_HOME = {
    "BM25": "retrieval",
    "Document": "documents",
    "Embedder": "protocols",
    "EmbeddingSpec": "spec",
    "Encoder": "encoder",
    "EncoderSettings": "encoder",
    "Hit": "hits",
    "Hits": "hits",
    "ReasonEmbedError": "errors",
    "RemoteEncoder": "encoder",
    "Retriever": "protocols",
    "TaskCard": "tasks",
    "compare": "evaluation",
    "evaluate": "evaluation",
    "exact_search": "retrieval",
    "get_task": "tasks",
    "load_task": "evaluation",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that `import reasonembed_rag` stays light."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
