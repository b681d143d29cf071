"""Embedding functions are searched by cosine, whatever length their vectors have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.protocols import Retriever
from reasonembed_rag.retrieval import dense as embedding_functions
from reasonembed_rag.retrieval.dense import EmbeddingFunctions
from reasonembed_rag.retrieval.exact import exact_search


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 9), batch=st.sampled_from([2, 100]))
def test_hits_are_exact_search_over_unit_vectors(seed, count, batch):
    rng = np.random.default_rng(seed)
    vectors = {f"d{n}": rng.normal(size=5) * rng.choice([1.0, 7.0]) for n in range(count)} | {"q": rng.normal(size=5)}
    documents = [Document(f"id{n}", f"d{n}") for n in range(count)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding_functions, "_BATCH", batch)
        retriever = EmbeddingFunctions(
            documents,
            embed_documents=lambda texts: [vectors[text].tolist() for text in texts],
            embed_query=lambda text: vectors[text].tolist(),
        )
    found = retriever.search(["q"], k=4, excluded_ids=[["id0"]])[0]
    unit = {name: (v / np.linalg.norm(v)).astype(np.float32) for name, v in vectors.items()}
    matrix = np.stack([unit[d.content] for d in documents])
    expected = exact_search(unit["q"][None], matrix, [d.id for d in documents], k=4, excluded_ids=[["id0"]])[0]
    assert set(found.ids) == set(expected.ids)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    assert isinstance(retriever, Retriever)


def test_vectors_of_unit_length_are_kept_bit_for_bit_and_zeros_pass():
    third = np.float32([1 / 3, 2 / 3, 2 / 3])
    rows = embedding_functions._checked([third.tolist(), [0.0, 0.0, 0.0], [3.0, 0.0, 0.0]], count=3)
    np.testing.assert_array_equal(rows, [third, [0, 0, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([[1.0], [1.0, 2.0]], "inhomogeneous"),
        ([[1.0, 2.0]], r"\(1, 2\).*\(2, D\)"),
        ([1.0, 2.0], r"\(2,\).*\(2, D\)"),
        ([["a"], ["b"]], "'a'"),
        ([[np.nan], [1.0]], "NaN"),
    ],
)
def test_what_is_no_vector_a_text_is_refused(answer, message):
    with pytest.raises(InputError, match=message):
        EmbeddingFunctions([Document("a", "a"), Document("b", "b")], embed_documents=lambda _: answer, embed_query=list)
