"""Hybrid search is the formula of its docstring, whatever is filtered, excluded or changed."""

import pytest

from reasonembed_rag import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.retrieval import BM25, GramAnalyzer
from reasonembed_stores import ChromaStore, FaissStore, IndexRetriever, LexicalSearch, keep_bm25, with_documents

DOCUMENTS = [
    Document(f"d{n:02}", f"passage about topic {n % 5} and {'iguanas ' * (n % 3)}, {n}", {"n": n}) for n in range(30)
]
QUERIES = ["topic 3", "an iguana of number 7", "zzzz"]


@pytest.fixture
def folder(tmp_path, words):
    path = tmp_path / "index"
    with FaissStore.create(path, spec=words.spec) as store:
        store.upsert(DOCUMENTS, words.encode_documents([document.content for document in DOCUMENTS]))
    return path


def scaled(scores):
    low, high = min(scores.values(), default=0), max(scores.values(), default=0)
    return {name: 1.0 if high == low else (score - low) / (high - low) for name, score in scores.items()}


def oracle(words, documents, query, *, weight, k):
    """Write the formula down once more."""
    vectors = words.encode_documents([document.content for document in documents])
    cosines = vectors @ words.encode_queries([query])[0]
    bm25 = BM25(DOCUMENTS, analyzer=GramAnalyzer()).score_all(query)
    kept = {document.id for document in documents}
    dense = scaled({document.id: float(one) for document, one in zip(documents, cosines, strict=True)})
    lexical = scaled({d.id: float(one) for d, one in zip(DOCUMENTS, bm25, strict=True) if one > 0 and d.id in kept})
    total = {name: (1 - weight) * dense[name] + weight * lexical.get(name, 0.0) for name in dense}
    return sorted(((round(score, 5), name) for name, score in total.items()), reverse=True)[:k]


@pytest.mark.parametrize("weight", [0.1, 0.3, 0.9])
@pytest.mark.parametrize("query", QUERIES)
def test_scores_are_the_weighted_sum_of_both_lists_each_scaled_from_0_to_1(folder, words, weight, query):
    (hits,) = IndexRetriever(folder, words, bm25_weight=weight).search([query], k=30)
    expected = oracle(words, DOCUMENTS, query, weight=weight, k=30)
    assert dict(zip(hits.ids, hits.scores.tolist(), strict=True)) == pytest.approx(
        {name: score for score, name in expected}, abs=2e-5
    )
    assert list(hits.scores) == sorted(hits.scores, reverse=True)
    assert hits.documents == tuple(DOCUMENTS[int(name[1:])] for name in hits.ids)


def test_a_filter_and_excluded_ids_leave_the_scores_of_the_rest_to_themselves(folder, words):
    retriever = IndexRetriever(folder, words, filters={"n": {"$lt": 20}}, bm25_weight=0.3)
    (hits,) = retriever.search(QUERIES[1:2], k=30, excluded_ids=[["d07", "unknown"]])
    left = [document for document in DOCUMENTS[:20] if document.id != "d07"]
    expected = oracle(words, left, QUERIES[1], weight=0.3, k=30)
    assert dict(zip(hits.ids, hits.scores.tolist(), strict=True)) == pytest.approx(
        {name: score for score, name in expected}, abs=2e-5
    )


def test_without_a_weight_scores_are_cosine_similarities(folder, words):
    plain = IndexRetriever(folder, words)
    with FaissStore.open(folder) as store:
        expected = store.search(words.encode_queries(QUERIES), k=5)
    assert plain.search(QUERIES, k=5) == expected
    assert plain.with_settings(bm25_weight=0.0).search(QUERIES, k=5) == expected
    assert plain.search_hybrid(QUERIES, k=5)[0].bm25 is None


def test_a_question_without_a_known_word_is_ranked_by_vectors(folder, words):
    retriever = IndexRetriever(folder, words)
    hybrid = retriever.with_settings(bm25_weight=0.3)
    assert hybrid.search(["zzzz"], k=30)[0].ids == retriever.search(["zzzz"], k=30)[0].ids


@pytest.mark.parametrize("count", [0, 1])
def test_an_index_of_one_document_or_none_is_searched(tmp_path, words, count):
    with FaissStore.create(tmp_path / "few", spec=words.spec) as store:
        documents = DOCUMENTS[:count]
        if documents:
            store.upsert(documents, words.encode_documents([one.content for one in documents]))
        (hits,) = IndexRetriever(store, words, bm25_weight=0.3).search(["topic"], k=3)
    assert hits.ids == tuple(one.id for one in documents)


@pytest.mark.parametrize("weight", [-0.1, 1.0, float("nan")])
def test_a_weight_that_leaves_nothing_to_the_vectors_is_refused(folder, weight):
    with pytest.raises(InputError, match=str(weight)):
        IndexRetriever(folder, bm25_weight=weight)


def test_a_store_whose_changes_are_not_noticed_is_not_searched_by_words(words):
    store = ChromaStore.create(spec=words.spec)
    store.upsert(DOCUMENTS, words.encode_documents([document.content for document in DOCUMENTS]))
    assert IndexRetriever(store, words).search(["topic"], k=1)
    with pytest.raises(InputError, match="ChromaStore"):
        IndexRetriever(store, words, bm25_weight=0.3).search(["topic"], k=1)


async def test_asking_asynchronously_finds_the_same(folder, words):
    retriever = IndexRetriever(folder, words, bm25_weight=0.3)
    assert await retriever.asearch(QUERIES, k=4) == retriever.search(QUERIES, k=4)


def test_the_file_of_words_is_read_while_it_is_true_and_ignored_after_a_change(folder, words, monkeypatch):
    assert keep_bm25(folder)
    assert not keep_bm25(folder)
    new = Document("new", "an axolotl")
    with FaissStore.open(folder) as store:
        with monkeypatch.context() as patch:
            patch.setattr("reasonembed_stores.lexical.BM25", None)  # building it would fail
            kept = LexicalSearch()
            before = kept.search(store, ["iguana"], k=30)
        assert before == [BM25(DOCUMENTS, analyzer=GramAnalyzer()).search(["iguana"], k=30)[0]]
        assert kept.search(store, ["axolotls"], k=1)[0].ids != ("new",)
        store.upsert([new], words.encode_documents([new.content]))
        for one in (kept, LexicalSearch()):
            (hits,) = one.search(store, ["axolotls"], k=1)
            assert with_documents(hits, store).documents == (new,)
    assert keep_bm25(folder)


def test_the_file_of_words_of_another_store_is_not_read_though_all_its_counts_are_equal(tmp_path, folder, words):
    keep_bm25(folder)
    others = [Document(document.id, f"axolotl {document.id}") for document in DOCUMENTS]
    with FaissStore.create(tmp_path / "other", spec=words.spec) as store:
        store.upsert(others, words.encode_documents([document.content for document in others]))
    (tmp_path / "other" / "bm25.npz").write_bytes((folder / "bm25.npz").read_bytes())
    with FaissStore.open(tmp_path / "other") as store:
        assert len(LexicalSearch().search(store, ["axolotl"], k=30)[0]) == 30


def test_a_store_that_is_being_written_or_is_empty_gets_no_file(tmp_path, folder, words):
    with FaissStore.open(folder) as store:
        store.delete(["d00"])
        assert not keep_bm25(folder)
    FaissStore.create(tmp_path / "empty", spec=words.spec).close()
    assert not keep_bm25(tmp_path / "empty")
    assert not list(tmp_path.rglob("bm25.npz"))


def test_what_was_deleted_since_the_search_is_left_out(folder):
    with FaissStore.open(folder) as store:
        (hits,) = LexicalSearch().search(store, ["iguana"], k=3)
        store.delete(hits.ids[:1])
        assert with_documents(hits, store).ids == hits.ids[1:]
