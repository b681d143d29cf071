"""What was written for a query is searched in one of four ways, each by its formula."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import ChatError, InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.pipeline.expanded import ExpandedRetriever
from reasonembed_rag.pipeline.fusion import Fusion
from reasonembed_rag.protocols import Expansion, Retriever, Usage, VectorRetriever
from reasonembed_rag.retrieval import BM25, CallableRetriever, DenseRetriever

DOCUMENTS = [
    Document(name, text) for name, text in zip("abcdef", ["aab", "bbc", "ccd", "dda", "abcd", "zzz"], strict=True)
]
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""The fixture returns a class, which no example changes."""
COMBINATIONS = ["replace", "append", "lists", "mean"]


class Written:
    """Expand by a table, and keep what was asked."""

    def __init__(self, table):
        self.table, self.asked = table, []

    def expand(self, queries, *, retriever=None, excluded_ids=None):
        self.asked.append((list(queries), retriever, excluded_ids))
        return [self.table.get(query, Expansion()) for query in queries]

    def usage(self):
        return Usage(llm_calls=3, llm_tokens=40)


class Heard:
    """Keep the texts that are searched."""

    def __init__(self):
        self.searched = []

    def search(self, queries, *, k, excluded_ids=None):
        self.searched += queries
        return [Hits((), np.zeros(0, dtype=np.float32)) for _ in queries]


_TEXTS = st.lists(st.text("abcd", min_size=1, max_size=5), max_size=3).map(tuple)
_TABLE = st.dictionaries(st.sampled_from(["ab", "cd", "da"]), st.builds(Expansion, _TEXTS, _TEXTS))


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_queries_without_texts_are_found_as_by_the_bare_retriever_to_the_bit(combine, letter_embedder):
    bare = DenseRetriever(letter_embedder(), DOCUMENTS)
    expanded = ExpandedRetriever(bare, Written({}), combine=combine)
    for k in (1, 3, 9):
        bans = [["a"], [], ["b", "c"]]
        assert expanded.search(["ab", "cd", "da"], k=k, excluded_ids=bans) == bare.search(
            ["ab", "cd", "da"], k=k, excluded_ids=bans
        )
    assert isinstance(expanded, Retriever)


@pytest.mark.parametrize("combine", COMBINATIONS)
@FEW
@given(table=_TABLE, k=st.integers(1, 7), banned=st.lists(st.lists(st.sampled_from("abcdef")), min_size=3, max_size=3))
def test_many_queries_are_found_as_one_by_one_and_exclusions_come_before_the_cut(
    combine, letter_embedder, table, k, banned
):
    expanded = ExpandedRetriever(DenseRetriever(letter_embedder(), DOCUMENTS), Written(table), combine=combine)
    queries = ["ab", "cd", "da"]
    found = expanded.search(queries, k=k, excluded_ids=banned)
    alone = [expanded.search([query], k=k, excluded_ids=[own])[0] for query, own in zip(queries, banned, strict=True)]
    assert found == alone
    for hits, own in zip(found, banned, strict=True):
        assert not set(hits.ids) & set(own)
        assert len(hits) == len(set(hits.ids)) == min(k, len(DOCUMENTS) - len(set(own)))


@FEW
@given(table=_TABLE)
def test_the_mean_has_the_mean_of_the_scores(letter_embedder, table):
    dense = DenseRetriever(letter_embedder(), DOCUMENTS)
    hits = ExpandedRetriever(dense, Written(table), combine="mean").search(["ab"], k=9)[0]
    texts = table.get("ab", Expansion())
    embedder = letter_embedder()
    vectors = np.concatenate(
        [
            embedder.encode_queries(["ab", *texts.queries]),
            embedder.encode_documents(list(texts.documents)).reshape(-1, 26),
        ]
    )
    documents = embedder.encode_documents([document.content for document in DOCUMENTS])
    scores = dict(zip("abcdef", (vectors @ documents.T).mean(axis=0), strict=True))
    np.testing.assert_allclose(hits.scores, [scores[identity] for identity in hits.ids], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fusion", ["scores", "ranks"])
@FEW
@given(table=_TABLE, k=st.integers(1, 7))
def test_lists_are_fused_as_fusion_does_the_query_among_them(letter_embedder, fusion, table, k):
    dense = DenseRetriever(letter_embedder(), DOCUMENTS)
    expanded = ExpandedRetriever(dense, Written(table), combine="lists", fusion=fusion, depth=4)
    texts = table.get("ab", Expansion())
    parts = [
        CallableRetriever(lambda _, k, text=text: dense.search([text], k=k)[0])
        for text in ("ab", *texts.queries, *texts.documents)
    ]
    expected = Fusion(parts, fusion=fusion, depth=4) if len(parts) > 1 else dense
    assert expanded.search(["ab"], k=k) == expected.search(["ab"], k=k)


def test_hypothetical_documents_are_embedded_as_documents_and_the_rest_as_queries(letter_embedder):
    embedder = letter_embedder(query_template="{instruction}: {text}")
    dense = DenseRetriever(embedder, DOCUMENTS, instruction="!xx")
    written = Written({"ab": Expansion(queries=("bc",), documents=("cd",))})
    dense.encode()
    for combine in ("lists", "mean"):
        embedder.seen.clear()
        ExpandedRetriever(dense, written, combine=combine).search(["ab"], k=2)
        assert sorted(embedder.seen) == ["ab!xx", "bc!xx", "cd"]
    bm25 = BM25(DOCUMENTS)
    assert ExpandedRetriever(bm25, written, combine="lists").search(["ab"], k=2)  # has no vectors: as queries


def test_replace_append_and_repeat_make_one_text():
    written = Written({"Why tides": Expansion(queries=("The Moon pulls.",), documents=("Tides rise twice a day.",))})
    for options, text in [
        ({"combine": "replace"}, "The Moon pulls.\n\nTides rise twice a day."),
        ({"combine": "append"}, "Why tides\n\nThe Moon pulls.\n\nTides rise twice a day."),
        ({"combine": "append", "repeat_weight": 2.0}, "why tides why tides the moon pulls. tides rise twice a day."),
    ]:
        heard = Heard()
        ExpandedRetriever(heard, written, **options).search(["Why tides", "other"], k=5)
        assert heard.searched == [text, "other"]


def test_the_expander_gets_the_retriever_and_the_exclusions_and_usage_is_the_sum(letter_embedder):
    dense, written = DenseRetriever(letter_embedder(), DOCUMENTS), Written({})
    expanded = ExpandedRetriever(dense, written)
    expanded.search(["ab"], k=2, excluded_ids=[["a"]])
    assert written.asked == [(["ab"], dense, [["a"]])]
    assert expanded.usage().llm_tokens == 40
    assert expanded.usage().index_bytes == dense.usage().index_bytes > 0


class Gone:
    def expand(self, queries, *, retriever=None, excluded_ids=None):
        raise ChatError("gone")


def test_a_model_that_is_gone_ends_the_search_or_is_counted_and_told_once(letter_embedder, caplog):
    dense = DenseRetriever(letter_embedder(), DOCUMENTS)
    with pytest.raises(ChatError, match="gone"):
        ExpandedRetriever(dense, Gone()).search(["ab"], k=2)
    for combine in COMBINATIONS:
        caplog.clear()
        expanded = ExpandedRetriever(dense, Gone(), combine=combine, fall_back=True)
        assert expanded.search(["ab", "cd"], k=2) == dense.search(["ab", "cd"], k=2)
        expanded.search(["ab"], k=2)
        assert expanded.fallbacks == 3
        assert [record.message for record in caplog.records] == ["query expansion is left out: gone"]


def test_the_mean_is_refused_before_any_work_where_there_are_no_vectors(letter_embedder):
    assert isinstance(DenseRetriever(letter_embedder(), DOCUMENTS), VectorRetriever)
    with pytest.raises(InputError, match=r"BM25 gives no vectors"):
        ExpandedRetriever(BM25(DOCUMENTS), Written({}), combine="mean")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"combine": "sum"}, "'sum'.*replace, append, lists, mean"),
        ({"combine": "mean", "depth": 5}, "depth is 5.*lists"),
        ({"combine": "lists", "repeat_weight": 2.0}, "repeat_weight is 2.0.*append"),
        ({"combine": "append", "fusion": "ranks"}, "fusion is 'ranks'.*lists"),
        ({"combine": "lists", "fusion": "votes"}, "'votes'.*ranks, scores"),
        ({"combine": "lists", "depth": 0}, "depth is 0"),
        ({"combine": "append", "repeat_weight": 0.0}, "repeat_weight is 0.0"),
    ],
)
def test_arguments_that_cannot_be_or_change_nothing_are_refused(options, told):
    with pytest.raises(InputError, match=told):
        ExpandedRetriever(Heard(), Written({}), **options)


def test_vectors_of_documents_come_by_id_in_any_order_and_from_any_shard(letter_embedder):
    dense = DenseRetriever(letter_embedder(), DOCUMENTS)
    assert np.array_equal(dense.vectors_of(["f", "a", "f"]), letter_embedder().encode_documents(["zzz", "aab", "zzz"]))
    with pytest.raises(InputError, match="'nobody'"):
        dense.vectors_of(["a", "nobody"])
