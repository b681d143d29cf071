"""The model of a shortened shipped recipe embeds equally in the core and in every framework."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from reasonembed_rag import Encoder

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
SETS = ("entailmentbank", "ecare", "strategyqa")
TEXTS = ["Why do cells divide?", "a quick brown fox\njumps", "Default parameter values are evaluated once.", "dog"]


@pytest.fixture
def trained(succeeds, tmp_path):
    """Train a shipped recipe with changed settings; return the model's folder."""

    def train(recipe: str, *changes: str) -> Path:
        here = [f"run.output={tmp_path / 'run'}", f"run.cache={tmp_path / 'cache'}", "run.trackers=[]", *changes]
        options = [part for change in here for part in ("--set", change)]
        return Path(succeeds("train", "run", ROOT / "training" / "recipes" / recipe, "--quiet", *options).strip())

    return train


@pytest.fixture
def tiny_rows(tmp_path) -> str:
    """Return rows as a recipe's `data`."""
    rows = [
        {"query": f"why {number}?", "reasoning_query": "because", "pos": [f"fox {number}"], "neg": ["dog", "lazy dog"]}
        for number in range(6)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"data=[{{path='{path}'}}]"


def assert_all_frameworks_embed_equally(folder: Path, *, task: str | None = None) -> None:
    from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
    from sentence_transformers import SentenceTransformer

    from langchain_reasonembed import ReasonEmbedEmbeddings

    encoder = Encoder.from_pretrained(str(folder), dtype="float32")
    chain = ReasonEmbedEmbeddings(model=str(folder), dtype="float32", task=task)
    index = ReasonEmbedEmbedding(model_name=str(folder), dtype="float32", task=task)
    transformer = SentenceTransformer(str(folder), device="cpu")
    queries, documents = encoder.encode_queries(TEXTS, task=task), encoder.encode_documents(TEXTS)
    prompt = encoder.spec.query_affixes(None)[0] if task is None else None

    def same(vectors: Sequence[Sequence[float]], expected: np.ndarray) -> None:
        np.testing.assert_allclose(np.asarray(vectors), expected, atol=1e-5)

    same(chain.embed_documents(TEXTS), documents)
    same([chain.embed_query(text) for text in TEXTS], queries)
    same(index.get_text_embedding_batch(TEXTS), documents)
    same([index.get_query_embedding(text) for text in TEXTS], queries)
    same(transformer.encode_document(TEXTS), documents)
    if prompt is not None:
        assert transformer.prompts["query"] == prompt
        same(transformer.encode_query(TEXTS), queries)


def test_the_model_of_tiny_cpu_embeds_equally_in_all_frameworks(trained, tiny_model, tiny_rows):
    base = tiny_model("bert", pooling="mean")
    folder = trained(
        "tiny-cpu.toml", f"model.name={base}", tiny_rows, "batch.queries=3", "optim.max_steps=4", "dev.sets=[]"
    )
    assert_all_frameworks_embed_equally(folder)
    moved = Encoder.from_pretrained(str(folder)).encode_documents(TEXTS)
    assert np.abs(moved - Encoder.from_pretrained(str(base)).encode_documents(TEXTS)).max() > 1e-4


@pytest.mark.parametrize("export", ["merged", "adapter"])
def test_the_model_of_a_decoder_recipe_embeds_equally_in_all_frameworks(trained, tiny_model, tiny_rows, export):
    folder = trained(
        "qwen3-0.6b-1gpu.toml",
        f"model.name={tiny_model('qwen3')}",
        "model.device=cpu",
        "model.precision=float32",
        tiny_rows,
        "batch.queries=3",
        "redapter.start_step=1",
        "optim.max_steps=3",
        f"run.export={export}",
    )
    assert_all_frameworks_embed_equally(folder)
    assert_all_frameworks_embed_equally(folder, task="biology")


@pytest.mark.skipif(not all((DATA / name).is_dir() for name in SETS), reason="the sets of ../shared/data are not here")
def test_the_model_of_tiny_cpu_on_its_own_data_embeds_equally_in_all_frameworks(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(DATA)
    folder = trained("tiny-cpu.toml", "optim.max_steps=2", "dev.sets=[]", "batch.queries=16", "redapter.start_step=1")
    assert_all_frameworks_embed_equally(folder)
    record = json.loads((folder / "training.json").read_text())
    assert record["rows"].keys() == set(SETS)
