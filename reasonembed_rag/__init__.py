"""Find the documents that a question needs, where the link is reasoning rather than shared words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.documents import Document
    from reasonembed_rag.encoder import Encoder, EncoderSettings, RemoteEncoder
    from reasonembed_rag.errors import ReasonEmbedError
    from reasonembed_rag.evaluation import compare, evaluate, load_task
    from reasonembed_rag.hits import Hit, Hits
    from reasonembed_rag.pipeline import Fusion
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
    "Fusion",
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

__getattr__, __dir__ = lazy_face(__name__)
