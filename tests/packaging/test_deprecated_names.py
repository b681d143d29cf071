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
