"""Found texts are brought home by id, by name or by content."""

from reasonembed_rag.documents import Document
from reasonembed_rag.evaluation.matching import DocumentNames, FoundText

_NAMES = DocumentNames([Document("a", "tides"), Document("b", "moon"), Document("c", "moon")])


def _text(unit=None, *names, content="", score=None):
    return FoundText(unit=unit, names=names, content=content, score=score)


def test_a_text_is_known_by_its_id_then_its_names_then_its_content():
    assert _NAMES.name(_text("a", "b", content="moon")) == "a"
    assert _NAMES.name(_text("x", None, 7, "b", content="tides")) == "b"
    assert _NAMES.name(_text("x", "y", content="tides")) == "a"
    assert _NAMES.name(_text(content="moon")) == "b"


def test_a_strange_text_keeps_its_own_name_for_the_harness_to_report():
    assert _NAMES.name(_text("x", "y", content="?")) == "x"
    assert _NAMES.name(_text(None, None, content="?")) == "a text without an id"


def test_of_several_parts_of_a_document_the_first_stays():
    parts = [_text("p1", "a", score=3.0), _text("p2", "b", score=2.0), _text("p3", "a", score=1.0)]
    hits = _NAMES.hits(parts)
    assert hits.ids == ("a", "b")
    assert hits.scores.tolist() == [3.0, 2.0]


def test_one_text_that_comes_back_twice_stays_twice():
    assert _NAMES.hits([_text("a"), _text("a")]).ids == ("a", "a")
    assert _NAMES.hits([_text(content="tides"), _text(content="tides")]).ids == ("a", "a")


def test_scores_count_only_where_every_text_has_one():
    assert _NAMES.hits([_text("a", score=0.5), _text("b")]).scores.tolist() == [2.0, 1.0]
    assert _NAMES.hits([]).ids == ()
