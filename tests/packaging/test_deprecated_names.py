"""Names that were replaced still work, and warn once."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

RENAMED = [
    ("reasonembed_rag.retrieval", "EmbedderRetriever", "DenseRetriever"),
    ("reasonembed_rag.evaluation", "ReasonEmbedMteb", "MtebModel"),
    ("langchain_reasonembed", "LangChainPipeline", "LangChainRag"),
    ("llama_index.retrievers.reasonembed", "LlamaIndexPipeline", "LlamaIndexRag"),
    ("reasonembed_rag.pipeline", "Hybrid", "Fusion"),
    ("reasonembed_rag.pipeline", "Part", "Weighted"),
    ("reasonembed_rag.pipeline", "Defence", "HitFilter"),
    ("langchain_reasonembed", "FaissVectorStore", "ReasonEmbedVectorStore"),
    ("llama_index.vector_stores.reasonembed", "ReasonEmbedFaissVectorStore", "ReasonEmbedVectorStore"),
    ("langchain_reasonembed.rag_evaluation", "LangChainPipeline", "LangChainRag"),
    ("llama_index.retrievers.reasonembed.evaluation", "LlamaIndexPipeline", "LlamaIndexRag"),
]
MOVED = [
    ("reasonembed_stores.html_text", "html_to_text", "reasonembed_readers.html_to_text"),
    ("reasonembed_stores", "Engine", "reasonembed_rag.encoder.SharedEncoder"),
    ("reasonembed_stores", "Hit", "reasonembed_rag.Hit"),
    ("reasonembed_stores", "get_engine", "reasonembed_rag.encoder.shared_encoder"),
    ("reasonembed_stores", "share_embedder", "reasonembed_rag.encoder.share_embedder"),
    ("reasonembed_rag.evaluation.run", "evaluate", "reasonembed_rag.evaluation.evaluate"),
    ("reasonembed_rag.evaluation.run", "evaluate_embedder", "reasonembed_rag.evaluation.evaluate_embedder"),
]


@pytest.mark.parametrize(("room", "old", "new"), RENAMED)
def test_an_old_name_is_the_new_one_and_warns_once_with_it(room: str, old: str, new: str):
    code = f"""
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from {room} import {old}, {new}
    from {room} import {old} as again
assert {old} is again is {new}
assert [(one.category, one.filename) for one in caught] == [(DeprecationWarning, "<string>")], caught
assert "{old}" in str(caught[0].message) and "{new}" in str(caught[0].message)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert old not in importlib.import_module(room).__all__


@pytest.mark.parametrize(("module", "name", "new"), MOVED)
def test_a_moved_name_is_the_one_in_its_new_place_and_warns_once_with_it(module: str, name: str, new: str):
    code = f"""
import warnings
from {new.rpartition(".")[0]} import {new.rpartition(".")[2]} as wanted
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from {module} import {name}
    from {module} import {name} as again
assert {name} is again is wanted
assert [(one.category, one.filename) for one in caught] == [(DeprecationWarning, "<string>")], caught
assert "{module}.{name}" in str(caught[0].message) and "{new}" in str(caught[0].message)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
