"""Words are cut into pieces of four letters, in any language."""

from reasonembed_rag.documents import Document
from reasonembed_rag.retrieval import BM25, EnglishAnalyzer, GramAnalyzer, read_bm25, write_bm25

DOCUMENTS = [
    Document("a", "isdigit() says whether all characters are digits"),
    Document("b", "Die Donaudampfschifffahrt fährt im Sommer"),
    Document("c", "a list grows between calls"),
    Document("d", ""),
]


def test_a_word_is_its_four_letter_pieces_with_the_spaces_around_it():
    assert GramAnalyzer().terms("Lists, a I") == [" lis", "list", "ists", "sts ", " a ", " i "]


def test_parts_of_words_are_found_that_stems_do_not_find():
    queries = ["digit", "Dampfschiff", "lsts listing"]
    found = BM25(DOCUMENTS, analyzer=GramAnalyzer()).search(queries, k=1)
    assert [hits.ids for hits in found] == [("a",), ("b",), ("c",)]
    assert [hits.ids for hits in BM25(DOCUMENTS, analyzer=EnglishAnalyzer()).search(queries[1:2], k=1)] == [()]


def test_an_index_that_was_written_scores_as_before(tmp_path):
    index, path = BM25(DOCUMENTS, analyzer=GramAnalyzer()), tmp_path / "bm25.npz"
    write_bm25(index, path, label="one")
    read = read_bm25(path, GramAnalyzer(), label="one")
    assert read is not None
    assert read.search(["digits of a list", "ship"], k=4) == index.search(["digits of a list", "ship"], k=4)
    assert read.ids == index.ids


def test_an_index_of_empty_documents_is_written_too(tmp_path):
    write_bm25(BM25([Document("x", "")], analyzer=GramAnalyzer()), tmp_path / "bm25.npz", label="")
    read = read_bm25(tmp_path / "bm25.npz", GramAnalyzer(), label="")
    assert read is not None
    assert [len(hits) for hits in read.search(["word"], k=1)] == [0]


def test_a_missing_damaged_or_other_file_is_no_index(tmp_path):
    path = tmp_path / "bm25.npz"
    assert read_bm25(path, GramAnalyzer(), label="one") is None
    write_bm25(BM25(DOCUMENTS, analyzer=GramAnalyzer()), path, label="one")
    assert read_bm25(path, GramAnalyzer(), label="two") is None
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", whole[:400] + b"\xff" * 40 + whole[440:]):
        path.write_bytes(damaged)
        assert read_bm25(path, GramAnalyzer(), label="one") is None
