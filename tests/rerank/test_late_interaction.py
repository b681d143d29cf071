"""Late interaction against its formula written out with nothing but transformers, and against sentence-transformers."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.encoder import collect_truncations
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Reranker, Retriever
from reasonembed_rag.rerank import LateInteraction, LateInteractionRetriever, TokenVectors, max_similarity

QUERIES = ["why do cells divide?", "fox", "the lazy dog, the quick brown fox and a list that keeps growing " * 3]
DOCUMENTS = [
    "the quick brown fox jumps over the lazy dog.",
    "Default parameter values are evaluated once, when the function definition is executed. " * 6,
    "a list (it keeps growing): [1, 2]!",
    "",
    "dog",
]
MODERN = {"local_attention": 128, "global_attn_every_n_layers": 2, "num_hidden_layers": 3}


def plain(folder, texts, *, queries):
    """Encode one text at a time as PyLate does, written out."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    saved = json.loads((folder / "config_sentence_transformers.json").read_text())
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    matrix = load_file(folder / "1_Dense" / "model.safetensors")["linear.weight"]
    side = "query" if queries else "document"
    length, prefix = saved[f"{side}_length"], tokenizer.convert_tokens_to_ids(saved[f"{side}_prefix"])
    skipped = [tokenizer.get_vocab()[word] for word in saved["skiplist_words"] if word in tokenizer.get_vocab()]
    found = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=length - 1)["input_ids"]
        ids = [ids[0], prefix, *ids[1:]]
        mask = [1] * len(ids)
        if queries and saved["do_query_expansion"]:
            mask += [int(saved["attend_to_expansion_tokens"])] * (length - len(ids))
            ids += [tokenizer.convert_tokens_to_ids("[MASK]")] * (length - len(ids))
        with torch.inference_mode():
            states = model(torch.tensor([ids]), attention_mask=torch.tensor([mask])).last_hidden_state[0]
            vectors = torch.nn.functional.normalize(states @ matrix.T, dim=-1).numpy()
        keep = np.ones(len(ids), bool) if queries else ~np.isin(ids, skipped)
        found.append(vectors[keep])
    return found


def farthest(got, expected):
    assert [one.shape for one in got] == [one.shape for one in expected]
    return max(np.abs(one - other).max() for one, other in zip(got, expected, strict=True))


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize(
    ("kind", "shape", "changes"),
    [
        ("bert", {"vocab_size": 300}, {}),
        ("bert", {"vocab_size": 300}, {"attend_to_expansion_tokens": True}),
        ("bert", {"vocab_size": 300}, {"do_query_expansion": False, "skiplist_words": []}),
        ("modernbert", MODERN, {}),
        ("modernbert", MODERN | {"local_attention": 16}, {"attend_to_expansion_tokens": True}),
    ],
)
def test_token_vectors_equal_the_formula_at_any_batch(late_folder, backend, kind, shape, changes):
    folder = late_folder(kind, shape=shape, **changes)
    model = LateInteraction.from_pretrained(folder, backend=backend, dtype="float32")
    for texts, encode, queries in ((QUERIES, model.encode_queries, True), (DOCUMENTS, model.encode_documents, False)):
        expected = plain(folder, texts, queries=queries)
        assert farthest(encode(texts), expected) < 1e-5
        assert farthest([encode([text])[0] for text in texts], expected) < 1e-5


def test_mask_tokens_that_see_nothing_get_the_states_of_torch(late_folder):
    folder = late_folder("modernbert", shape=MODERN | {"local_attention": 16})
    model = LateInteraction.from_pretrained(folder)
    assert model.spec.backend == "torch"
    assert farthest(model.encode_queries(QUERIES), plain(folder, QUERIES, queries=True)) < 1e-5
    with pytest.raises(InputError, match="window"):
        LateInteraction.from_pretrained(folder, backend="onnx")


def test_the_vectors_are_those_of_sentence_transformers(late_folder):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    folder = late_folder()
    peer = sentence_transformers.MultiVectorEncoder(str(folder), device="cpu")
    model = LateInteraction.from_pretrained(folder)
    assert farthest(model.encode_queries(QUERIES), peer.encode_query(QUERIES, convert_to_numpy=True)) < 1e-5
    documents = DOCUMENTS[:3]
    assert farthest(model.encode_documents(documents), peer.encode_document(documents, convert_to_numpy=True)) < 1e-5


def test_max_similarity_is_the_example_by_hand():
    query = np.asarray([[1, 0], [0, 1]], np.float32)
    documents = np.asarray([[0.6, 0.8], [1, 0], [0, -1]], np.float32)
    assert max_similarity(query, documents, np.asarray([0, 2, 3])) == pytest.approx([1.8, -1.0])
    many = np.random.default_rng(0).standard_normal((90, 2)).astype(np.float32)
    ends = np.asarray([0, 1, 7, 50, 90])
    expected = [sum((query @ many[a:b].T).max(1)) for a, b in itertools.pairwise(ends)]
    assert max_similarity(query, many, ends) == pytest.approx(expected, abs=1e-6)


def test_many_documents_are_scored_in_parts(monkeypatch):
    from reasonembed_rag.rerank import token_vectors

    generator = np.random.default_rng(0)
    query, many = (generator.standard_normal((rows, 4)).astype(np.float32) for rows in (3, 60))
    ends = np.asarray([0, 20, 21, 30, 59, 60])
    whole = max_similarity(query, many, ends)
    monkeypatch.setattr(token_vectors, "_SCORES", 30)
    assert np.allclose(max_similarity(query, many, ends), whole, atol=1e-6)


def corpus():
    return [Document(f"d{number}", text) for number, text in enumerate(DOCUMENTS)]


def test_the_reranker_and_the_retriever_give_the_order_of_the_formula(late_folder):
    folder = late_folder()
    model = LateInteraction.from_pretrained(folder)
    retriever = LateInteractionRetriever(model, corpus(), vectors=model.encode_corpus(corpus(), dtype="float32"))
    assert isinstance(model, Reranker)
    assert isinstance(retriever, Retriever)
    queries = plain(folder, QUERIES, queries=True)
    documents = plain(folder, DOCUMENTS, queries=False)
    scores = [[(query @ document.T).max(1).sum() for document in documents] for query in queries]
    first = Hits(tuple(f"d{n}" for n in range(5)), np.zeros(5), tuple(corpus()))
    ranked = model.rerank(QUERIES, [first] * 3)
    for row, found, searched in zip(scores, ranked, retriever.search(QUERIES, k=5), strict=True):
        order = sorted(range(5), key=lambda n: -row[n])
        assert found.ids == searched.ids == tuple(f"d{n}" for n in order)
        assert np.abs(found.scores - np.asarray(row)[order]).max() < 1e-4
        assert [hit.document.content for hit in searched] == [DOCUMENTS[n] for n in order]
    assert np.abs(model.score([(QUERIES[1], DOCUMENTS[0])])[0] - scores[1][0]) < 1e-4


def test_exclusions_come_before_the_cut_and_ties_by_larger_id(late_folder):
    model = LateInteraction.from_pretrained(late_folder())
    same = [Document(name, "the lazy dog") for name in ("b", "c", "a")]
    retriever = LateInteractionRetriever(model, same)
    assert retriever.search(["fox"], k=3)[0].ids == ("c", "b", "a")
    assert retriever.search(["fox"], k=1, excluded_ids=[{"c", "x"}])[0].ids == ("b",)
    assert retriever.usage().index_bytes > 0


def test_stored_vectors_are_read_back_and_used_instead_of_the_model(late_folder, tmp_path):
    folder = late_folder()
    model = LateInteraction.from_pretrained(folder)
    path = tmp_path / "sub" / "vectors.safetensors"
    model.encode_corpus(corpus()).save(path)
    stored = TokenVectors.load(path)
    assert stored.vectors.dtype == np.float16
    quick = LateInteraction.from_pretrained(folder, stored=stored)
    first = Hits(tuple(f"d{n}" for n in range(5)), np.zeros(5), tuple(corpus()))
    (ranked,) = quick.rerank(["fox"], [first])
    assert quick.usage().query_tokens == 24  # the query alone
    (expected,) = model.rerank(["fox"], [first])
    assert ranked.ids == expected.ids
    assert np.abs(ranked.scores - expected.scores).max() < 0.05
    changed = Hits(("d0",), np.zeros(1), (Document("d0", "another text"),))
    wanted = model.rerank(["fox"], [changed])[0].scores
    np.testing.assert_allclose(quick.rerank(["fox"], [changed])[0].scores, wanted, atol=1e-5)


def test_vectors_of_another_model_or_another_corpus_are_refused(late_folder, tmp_path):
    model = LateInteraction.from_pretrained(late_folder())
    stored = model.encode_corpus(corpus())
    other = dataclasses.replace(stored, model="0" * 32)
    for build in (
        lambda: LateInteraction.from_pretrained(late_folder(query_length=16), stored=stored),
        lambda: LateInteractionRetriever(model, corpus(), vectors=other),
        lambda: LateInteractionRetriever(model, corpus()[:4], vectors=stored),
        lambda: LateInteractionRetriever(model, [*corpus()[:4], Document("d4", "new")], vectors=stored),
    ):
        with pytest.raises(InputError, match="encode them again"):
            build()
    (tmp_path / "x").write_bytes(b"no")
    with pytest.raises(InputError, match="cannot be read"):
        TokenVectors.load(tmp_path / "x")


def test_long_texts_are_counted(late_folder):
    model = LateInteraction.from_pretrained(late_folder())
    with collect_truncations() as counts:
        model.encode_queries(QUERIES)
        model.encode_documents(DOCUMENTS)
    assert counts.by_length == {24: 1, 48: 1}


def test_other_folders_are_refused(tiny_model, late_folder):
    with pytest.raises(ModelError, match="PyLate"):
        LateInteraction.from_pretrained(tiny_model("bert", pooling="mean"))
    with pytest.raises(ModelError, match=r"\[X\] "):
        LateInteraction.from_pretrained(late_folder(query_prefix="[X] "))
    folder = late_folder()
    path = folder / "1_Dense" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"activation_function": "torch.nn.Tanh"}))
    with pytest.raises(ModelError, match="Tanh"):
        LateInteraction.from_pretrained(folder)
