"""ReasonEmbed for LangChain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import Dependency, lazy_face

if TYPE_CHECKING:
    from langchain_reasonembed.chat import as_chat, open_chat
    from langchain_reasonembed.chroma import open_chroma
    from langchain_reasonembed.compressors import DefendedRetriever, ReasonEmbedCompressor
    from langchain_reasonembed.embeddings import ReasonEmbedEmbeddings
    from langchain_reasonembed.evaluation import as_retriever
    from langchain_reasonembed.memory import LatentChatModel, memory_chain
    from langchain_reasonembed.rag_evaluation import LangChainRag
    from langchain_reasonembed.retrievers import ReasonEmbedRetriever
    from langchain_reasonembed.stages import ReasonEmbedQueryExpander, ReasonEmbedReranker
    from langchain_reasonembed.structured_query import ReasonEmbedTranslator
    from langchain_reasonembed.text_splitters import ReasonEmbedTextSplitter
    from langchain_reasonembed.vectorstores import ReasonEmbedVectorStore

__all__ = [
    "DefendedRetriever",
    "LangChainRag",
    "LatentChatModel",
    "ReasonEmbedCompressor",
    "ReasonEmbedEmbeddings",
    "ReasonEmbedQueryExpander",
    "ReasonEmbedReranker",
    "ReasonEmbedRetriever",
    "ReasonEmbedTextSplitter",
    "ReasonEmbedTranslator",
    "ReasonEmbedVectorStore",
    "as_chat",
    "as_retriever",
    "memory_chain",
    "open_chat",
    "open_chroma",
]

__getattr__, __dir__ = lazy_face(
    __name__,
    needs=Dependency("langchain_core", "langchain-core", "langchain"),
    renamed={"FaissVectorStore": "ReasonEmbedVectorStore", "LangChainPipeline": "LangChainRag"},
)
