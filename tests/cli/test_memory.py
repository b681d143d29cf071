"""`reasonembed memory` builds memories beside an index, shows them, and answers from them."""

from __future__ import annotations

import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.memory import MemoryStore
from reasonembed_stores import FaissStore

DOCUMENTS = [Document("a", "the quick brown fox"), Document("b", "cells divide"), Document("c", "the lazy dog")]


@pytest.fixture
def index(latent_encoder, tmp_path):
    """An index whose vectors the latent model made."""
    folder = tmp_path / "docs.index"
    store = FaissStore.create(folder, spec=latent_encoder.spec)
    store.upsert(DOCUMENTS, latent_encoder.encode_documents([one.content for one in DOCUMENTS]))
    store.close()
    return folder


def test_memories_are_built_shown_and_asked(index, latent_folder, latent_encoder, succeeds, monkeypatch):
    built = succeeds("memory", "build", index, "--model", latent_folder)
    assert "3 memories of 2,048 bytes; compressed 3, kept 0, deleted 0" in built
    store = FaissStore.open(index)
    store.delete(["a"])
    store.upsert([Document("b", "cells never divide")], latent_encoder.encode_documents(["cells never divide"]))
    store.close()
    assert "without a memory of their content: 1\n" in succeeds("memory", "info", index)
    assert "compressed 1, kept 1, deleted 1" in succeeds("memory", "build", index, "--model", latent_folder)
    shown = succeeds("memory", "info", index)
    assert "2,048 = 2 x 2 layers x 2 kv heads x 16 x 4 latents x 4" in shown
    assert "memories: 2, beside 2 documents" in shown
    assert set(MemoryStore.open(f"{index}.memories").ids) == {"b", "c"}
    asked = ("memory", "ask", index, "why?", "--model", latent_folder, "--max-tokens", 6, "-k", 2)
    answer = succeeds(*asked)
    assert "[1] " in answer
    assert "[2] " in answer
    assert succeeds(*asked) == answer
    assert succeeds(*asked, "--texts") != answer
    assert succeeds(*asked, "--temperature", 2, "--seed", 1) != answer
    monkeypatch.chdir(index)  # "." has no name of its own
    assert "memories: 2, beside 2 documents" in succeeds("memory", "info", ".")


def test_bad_input_is_one_line(index, latent_folder, tiny_model, fails):
    assert "memory build" in fails("memory", "info", index)
    assert "memory build" in fails("memory", "ask", index, "why?", "--model", latent_folder)
    assert "latent.json" in fails("memory", "build", index, "--model", tiny_model("qwen3", tie_word_embeddings=True))
    assert "max_tokens" in fails("memory", "ask", index, "why?", "--model", latent_folder, "--max-tokens", 0)
    assert "no index" in fails("memory", "build", latent_folder, "--model", latent_folder)
